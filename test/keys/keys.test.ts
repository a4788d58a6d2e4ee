import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generateIdentity } from '../../libs/blocks/keys.ts';
import { Rig } from '../rebuild/rig.ts';

let rig: Rig;
let source: string;
let targets = 0;

beforeAll(async () => {
  rig = new Rig('keys');
  source = rig.path('source');
  mkdirSync(source);
  writeFileSync(`${source}/file`, 'content');
  const identity = await generateIdentity();
  writeFileSync(
    rig.path('identity.txt'),
    `# created: 2026-11-24T10:00:00Z\n# public key: age1…\n${identity}\n`,
  );
});
afterAll(() => rig.close());

const homeStore = (home: string) => ({ TIDEMARK_STORE: rig.path(`${home}-store`) });
const on = (home: string, args: string[], more: NodeJS.ProcessEnv = {}) =>
  rig.tidemark(home, args, { ...homeStore(home), ...more });
const restore = (home: string, args: string[] = [], more: NodeJS.ProcessEnv = {}) =>
  on(home, ['restore', 'latest', '--to', rig.path(`target${++targets}`), ...args], more);
const works = { status: 0 };
const fails = (code: string, status = 1) => ({ status, last: { code } });

test('a new store takes an identity that is given, in the form of age-keygen, and keeps no copy of it', {
  timeout: 60_000,
}, () => {
  const given = ['--identity', rig.path('identity.txt')];
  expect(on('given', ['init', ...given])).toMatchObject({
    status: 0,
    last: { type: 'summary', identity: rig.path('identity.txt') },
  });
  expect(existsSync(rig.path('given', 'identity'))).toBe(false);
  expect(on('given', ['backup', source])).toMatchObject(works);
  expect(restore('given')).toMatchObject(fails('TM1402'));
  expect(restore('given', given)).toMatchObject(works);
  expect(readFileSync(rig.path(`target${targets}`, 'file'), 'utf8')).toBe('content');
  expect(on('given', ['init', ...given])).toMatchObject(works);
});

test('an identity that is none, or not that of the store, is refused', { timeout: 60_000 }, async () => {
  writeFileSync(rig.path('none'), 'no key at all');
  writeFileSync(
    rig.path('mistyped'),
    (await generateIdentity()).replace(/.$/, (last) => (last === 'Q' ? 'P' : 'Q')),
  );
  writeFileSync(rig.path('stranger'), await generateIdentity());
  for (const name of ['none', 'mistyped', 'not there'])
    expect(on('refused', ['init', '--identity', rig.path(name)]), name).toMatchObject(fails('TM1402'));
  expect(existsSync(rig.path('refused-store', 'tidemark.json'))).toBe(false);
  expect(on('given', ['init', '--identity', rig.path('stranger')])).toMatchObject(fails('TM1401'));
  expect(restore('given', ['--identity', rig.path('stranger')])).toMatchObject(fails('TM1401'));
});

test('an identity under a passphrase: writing needs none, reading the right one', { timeout: 60_000 }, () => {
  const right = { TIDEMARK_PASSPHRASE: 'correct horse' };
  expect(on('locked', ['init'], right)).toMatchObject(works);
  expect(readFileSync(rig.path('locked', 'identity'), 'latin1')).toMatch(/^-----BEGIN AGE ENCRYPTED FILE/);
  expect(on('locked', ['backup', source])).toMatchObject(works);
  expect(on('locked', ['tag', 'latest', 'a=b'])).toMatchObject(works);
  expect(restore('locked')).toMatchObject(fails('TM1403'));
  expect(restore('locked', [], { TIDEMARK_PASSPHRASE: 'wrong' })).toMatchObject(fails('TM1403'));
  expect(restore('locked', [], right)).toMatchObject(works);
  writeFileSync(rig.path('passphrase'), 'correct horse\n');
  expect(restore('locked', ['--passphrase-file', rig.path('passphrase')])).toMatchObject(works);
  expect(restore('locked', ['--passphrase-file', rig.path('nowhere')])).toMatchObject(fails('TM1002', 2));
  expect(on('locked', ['registry', 'rebuild'])).toMatchObject(fails('TM1403'));
  expect(on('locked', ['registry', 'rebuild'], right)).toMatchObject(works);
});

/** Removes and alters an object, and puts it back. */
function damaging(file: string, work: (damage: string) => void): void {
  const bytes = readFileSync(file);
  const altered = Buffer.from(bytes);
  altered[bytes.length - 5]! ^= 1;
  rmSync(file);
  work('missing');
  for (const content of [altered, bytes.subarray(0, 40), Buffer.from('nonsense')]) {
    writeFileSync(file, content);
    work(`altered: ${content.length} bytes`);
  }
  writeFileSync(file, bytes);
}

test("a missing or damaged object of the domain's key is named, and backups go on", {
  timeout: 120_000,
}, () => {
  expect(on('hurt', ['backup', source])).toMatchObject(works);
  const keys = rig.path('hurt-store', 'keys');
  const domain = readdirSync(keys).find((name) => name !== 'data')!;
  const [recipient] = readdirSync(`${keys}/${domain}/1`);
  damaging(`${keys}/${domain}/1/${recipient}`, (damage) => {
    const said = restore('hurt');
    expect(said, damage).toMatchObject(fails('TM1404', 4));
    expect(said.last.message).toContain(`keys/${domain}/1/${recipient}`);
    if (damage === 'missing') expect(on('hurt', ['backup', source])).toMatchObject(works);
  });
  expect(restore('hurt')).toMatchObject(works);
});

test('a missing or damaged data key is named by verify and rebuild', { timeout: 120_000 }, () => {
  const [key] = readdirSync(rig.path('hurt-store', 'keys', 'data'));
  damaging(rig.path('hurt-store', 'keys', 'data', key!), (damage) => {
    const { status, text } = on('hurt', ['verify', '--read-data']);
    expect({ status, damage }).toEqual({ status: 4, damage });
    expect(text).toMatch(/TM1404|TM1601/);
  });
  expect(on('hurt', ['verify', '--read-data']).last).toMatchObject({ findings: 0 });
  renameSync(rig.path('hurt', 'identity'), rig.path('hurt', 'identity.away'));
  expect(on('hurt', ['registry', 'rebuild'])).toMatchObject(fails('TM1402'));
  renameSync(rig.path('hurt', 'identity.away'), rig.path('hurt', 'identity'));
  expect(on('hurt', ['backups']).lines).toHaveLength(2);
});
