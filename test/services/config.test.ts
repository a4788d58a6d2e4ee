import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { App } from './stack.ts';

const DIST = join(import.meta.dirname, '../../dist/apps');
const NOWHERE = 'postgres://u:swordfish@127.0.0.1:9/d';

/** Beside its own, what each of them has. */
const COMMON = {
  TIDEMARK_LISTEN: '127.0.0.1:70000',
  LOG_LEVEL: 'loud',
  TIDEMARK_STROE: 'file:///x',
  TIDEMARK_KAFKA_BROKERS: 'nocolon',
  TIDEMARK_KAFKA_CA: '/nowhere/ca.pem',
  TIDEMARK_KAFKA_USERNAME: 'me',
};
/** What is wrong with these: a user is named, without mechanism and password. */
const NAMES = Object.keys(COMMON)
  .filter((name) => name !== 'TIDEMARK_KAFKA_USERNAME')
  .concat('TIDEMARK_KAFKA_MECHANISM', 'TIDEMARK_KAFKA_PASSWORD');

const cases: readonly [App, Readonly<Record<string, string>>, readonly string[]][] = [
  [
    'fs-monitor-agent',
    { TIDEMARK_SERVER: 'nowhere', TIDEMARK_SOURCES: 'relative', TIDEMARK_THREADS: '0' },
    ['TIDEMARK_HOME'],
  ],
  ['delta-calculator', { TIDEMARK_REGISTRY_URL: 'mysql://swordfish', TIDEMARK_KAFKA_SESSION: '1' }, []],
  [
    'storage-writer',
    { TIDEMARK_STORE: 'ftp://x', TIDEMARK_UPLOAD_MEMORY: '1', TIDEMARK_ADMIN_TOKEN: 'short' },
    ['TIDEMARK_REGISTRY_URL'],
  ],
  [
    'control-plane',
    { TIDEMARK_RECIPIENTS: `age1${'q'.repeat(58)}`, TIDEMARK_DEFAULT_POLICY: '--no-such-thing' },
    ['TIDEMARK_WRITERS', 'TIDEMARK_STORE'],
  ],
];

test.each(cases)(
  '%s: all that is wrong with its environment is one error, TM1002, before anything is asked',
  (app, own, missing) => {
    const registry = app === 'control-plane' ? { TIDEMARK_REGISTRY_URL: NOWHERE } : {};
    const env = { PATH: process.env.PATH, ...COMMON, ...registry, ...own };
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(DIST, app, 'main.js')], {
      env,
      encoding: 'utf8',
    });
    expect(status).toBe(2);
    expect(stderr).toBe('');
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(1);
    const { level, code, guidance, err } = JSON.parse(lines[0]!);
    expect({ level, code }).toEqual({ level: 'error', code: 'TM1002' });
    expect(guidance).toContain('docs/4-configuration.md');
    const named = [...err.message.matchAll(/\b(TIDEMARK_\w+|LOG_LEVEL): /g)].map(([, name]) => name);
    expect(named.toSorted()).toEqual([...NAMES, ...Object.keys(own), ...missing].toSorted());
    expect(stdout).not.toContain('swordfish');
  },
);
