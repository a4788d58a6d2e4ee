import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Line, Rig } from './rig.ts';

let rig: Rig;
let source: string;
let other: string;
let labels: string[];

beforeAll(() => {
  rig = new Rig('contract');
  source = rig.folder('source');
  mkdirSync(rig.path('source/many'));
  for (let i = 0; i < 300; i++) writeFileSync(rig.path(`source/many/file-${i}`), `${i}`);
  writeFileSync(rig.path('source/red\u001b[31m\nline'), 'name');
  writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0xff, 0xfe])]), 'bytes');
  symlinkSync('many', rig.path('source/link'));
  other = rig.folder('other');
  writeFileSync(rig.path('other/one'), '1');
  labels = [source, source, other].map((dir) => {
    const { status, last, stderr } = rig.json(['backup', dir]);
    expect(status, stderr).toBe(0);
    return last.label!;
  });
}, 300_000);

afterAll(() => rig.dispose());

const ofSource = (): string[] => ['--source', source];

describe('words', () => {
  test('the summary of a backup has what scripts rely on', () => {
    const { last, lines } = rig.json(['backup', source]);
    expect(last).toMatchObject({ type: 'summary', kind: 'differential', baseline: labels[0], added: 0 });
    const keys = ['label', 'kind', 'baseline', 'files', 'added', 'changed', 'deleted', 'unchanged'];
    expect(Object.keys(last)).toEqual(
      expect.arrayContaining([...keys, 'bytes', 'newBytes', 'storedBytes', 'seconds']),
    );
    expect(last.files).toBe(302);
    expect(lines.filter((line) => line.type === 'summary')).toHaveLength(1);
  });

  test('backups come oldest first, each with what it is', () => {
    const { lines, status } = rig.json(['backups', source]);
    expect(status).toBe(0);
    expect(lines.map((line) => line.label).slice(0, 2)).toEqual(labels.slice(0, 2));
    expect(lines.every((line) => line.type === 'backup' && line.source === source)).toBe(true);
    for (const key of ['label', 'kind', 'baseline', 'source', 'seq', 'time', 'tags'])
      expect(lines[1]).toHaveProperty(key);
  });

  test('status says how each folder stands', () => {
    const { lines, last, status } = rig.json(['status']);
    expect(status).toBe(0);
    const [first] = lines.filter((line) => line.source === source);
    expect(first).toMatchObject({
      type: 'status',
      lastFull: { label: labels[0], kind: 'full', state: 'committed' },
      open: null,
      failed: null,
    });
    expect(first!.ageSeconds).toBeGreaterThanOrEqual(0);
    expect(last).toMatchObject({ type: 'summary', sources: 2, underWay: 0, failed: 0 });
    expect(rig.run(['status']).stdout).toMatch(
      new RegExp(`${source} {2}2\\d{7}T.* ago; last full ${labels[0]}`),
    );
  });

  test('--quiet says nothing but errors', () => {
    expect(rig.run(['backup', source, '--quiet'])).toMatchObject({ status: 0, stdout: '', stderr: '' });
    const failing = rig.run(['backup', rig.path('nowhere'), '--quiet']);
    expect(failing).toMatchObject({ status: 1, stdout: '' });
    expect(failing.stderr).toContain('[TM1101]');
  });

  test('a stack trace is shown with --verbose alone', () => {
    const args = ['backup', rig.path('nowhere')];
    expect(rig.run(args).stderr).not.toMatch(/\n\s+at /);
    expect(rig.run([...args, '--verbose']).stderr).toMatch(/\n\s+at /);
    expect(rig.run(args, { TIDEMARK_VERBOSE: '1' }).stderr).toMatch(/\n\s+at /);
  });

  test('errors are lines with code, message, path and guidance', () => {
    const { lines, status, stderr } = rig.json(['backup', rig.path('nowhere')]);
    expect(status).toBe(1);
    expect(stderr).toBe('');
    expect(lines).toEqual([
      {
        type: 'error',
        code: 'TM1101',
        message: expect.stringContaining('does not exist'),
        path: rig.path('nowhere'),
        guidance: expect.stringContaining('Check the path'),
      },
    ]);
  });

  test('names are escaped for people and exact in JSON', () => {
    const text = rig.run(['ls', 'latest', ...ofSource()]).stdout;
    expect(text).toContain('red\\x1b[31m\\nline');
    expect(text).toContain('\\xff\\xfe');
    expect(text).not.toContain('\u001b');
    const paths = rig.json(['ls', 'latest', ...ofSource()]).lines.map((line) => line.path);
    expect(paths).toContain('red\u001b[31m\nline');
    expect(paths).toContainEqual({ base64: '//4=' });
    const error = rig.run(['ls', 'latest', 'no\u001b[31m', ...ofSource()]);
    expect(error.stderr).toContain('no\\x1b[31m');
  });

  test('an ambiguous label is answered with its candidates, an exact one wins', () => {
    const prefix = labels[0]!.slice(0, 6);
    const { status, last } = rig.json(['ls', prefix]);
    expect(status).toBe(10);
    expect(last.code).toBe('TM1702');
    for (const part of [labels[0]!, labels[1]!, source, other]) expect(last.message).toContain(part);
    expect(rig.json(['ls', labels[0]!, ...ofSource()]).status).toBe(0);
    expect(rig.json(['ls', 'latest']).status).toBe(10);
  });

  test('--source takes DIR and AGENT:DIR', () => {
    const { agent } = rig.json(['backups', other]).lines[0]!;
    expect(rig.json(['ls', 'latest', '--source', `${agent}:${other}`]).status).toBe(0);
    expect(rig.json(['ls', 'latest'], { TIDEMARK_SOURCE: other }).status).toBe(0);
    expect(rig.json(['ls', 'latest', '--source', `elsewhere:${other}`]).last.code).toBe('TM1703');
  });

  test('--yes is known, unknown options, commands and missing arguments are wrong usage', () => {
    expect(rig.run(['backups', '--yes']).status).toBe(0);
    for (const args of [['backups', '--no-such'], ['no-such'], ['backup'], ['cat', 'latest']]) {
      const { status, last } = rig.json(args);
      expect([status, last.code], args.join(' ')).toEqual([2, 'TM1001']);
    }
  });

  test('a bad variable is named, and so is a bad option', () => {
    expect(rig.run(['backups'], { TIDEMARK_JSON: 'yes' })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('TIDEMARK_JSON=yes'),
    });
    expect(rig.json(['backups', '--server', 'host']).last).toMatchObject({
      code: 'TM1002',
      message: expect.stringContaining('--server=host: expected http(s)://HOST:PORT'),
    });
  });

  test('each command has an example in its help', () => {
    const help = rig.run(['--help']).stdout;
    const commands = [...help.slice(help.indexOf('Commands:')).matchAll(/^ {2}([a-z]+)/gm)].map((m) => m[1]!);
    expect(commands.length).toBeGreaterThan(12);
    const errors = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
    const named = [...errors.matchAll(/`tidemark ([a-z]+)/g)].map((m) => m[1]!);
    expect(commands).toEqual(expect.arrayContaining(named));
    for (const command of commands.filter((one) => one !== 'help')) {
      const { stdout, status } = rig.run([command, '--help']);
      expect(status).toBe(0);
      expect(stdout, command).toMatch(new RegExp(`Examples:\n  tidemark ${command}`));
    }
    expect(rig.run(['--help', 'backup']).stdout, 'all commands, whichever is named').toBe(help);
  });

  test('a command that is misspelt is told, also where another one is named', () => {
    for (const args of [['bakup'], ['--quiet', 'bakup', 'backup']])
      expect(rig.run(args)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('Did you mean backup?'),
      });
  });

  test('--version starts nothing and is quick', () => {
    const times = Array.from({ length: 5 }, () => {
      const started = performance.now();
      expect(rig.run(['--version'], { TIDEMARK_HOME: rig.path('none') }).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
      return performance.now() - started;
    });
    expect(existsSync(rig.path('none'))).toBe(false);
    expect(Math.min(...times)).toBeLessThan(1000);
  });

  test('a socket is a note, not an error', async () => {
    const dir = rig.folder('sockets');
    const server = createServer().listen(rig.path('sockets/s'));
    await new Promise((resolve) => server.once('listening', resolve));
    const { status, lines, last } = rig.json(['backup', dir]);
    const text = rig.run(['backup', dir]);
    server.close();
    expect(status).toBe(0);
    expect(last).toMatchObject({ type: 'summary', problems: 0, others: 0 });
    expect(lines.filter((line) => line.code)).toMatchObject([{ type: 'note', code: 'TM1114', path: 's' }]);
    expect(text).toMatchObject({ status: 0, stderr: expect.stringContaining('tidemark: note: s: ') });
  });
});

describe('nothing set up', () => {
  test('commands that look say so and make nothing; doctor is content', () => {
    const home = rig.path('untouched');
    const env = { TIDEMARK_HOME: home };
    for (const args of [['backups'], ['ls', 'latest'], ['verify']])
      expect(rig.json(args, env)).toMatchObject({ status: 10, last: { code: 'TM1202' } });
    const doctor = rig.json(['doctor'], env);
    expect(doctor.status).toBe(0);
    expect(doctor.last).toMatchObject({ type: 'summary', failed: 0 });
    const dry = rig.json(['backup', other, '--dry-run'], env);
    expect(dry.lines).toEqual([
      { type: 'change', op: 'added', path: '.' },
      { type: 'change', op: 'added', path: 'one' },
      expect.objectContaining({ type: 'summary', dryRun: true, kind: 'full', files: 1, added: 2 }),
    ]);
    expect(existsSync(home)).toBe(false);
  });

  test('backups of an empty store are none, which is no error', async () => {
    const env = { TIDEMARK_HOME: rig.path('empty') };
    expect(rig.json(['init'], env)).toMatchObject({ status: 0, last: { type: 'summary' } });
    expect(rig.json(['backups'], env)).toMatchObject({ status: 0, stdout: '' });
    expect(rig.run(['backups'], env)).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('no backups yet'),
    });
    const { stopEmbeddedPostgres } = await import('../../libs/registry/embedded/index.ts');
    await stopEmbeddedPostgres(rig.path('empty'));
  });
});

describe('doctor', () => {
  const status = (lines: readonly Line[], name: string) => lines.find((line) => line.name === name)?.status;

  test('finds all well where it is', () => {
    const { status: exit, lines, last } = rig.json(['doctor']);
    expect(lines.filter((line) => line.status === 'failed')).toEqual([]);
    expect([exit, last.failed]).toEqual([0, 0]);
    for (const name of ['node', 'home', 'registry', 'store', 'store-owner', 'identity', 'clock-skew'])
      expect(status(lines, name), name).toBe('ok');
    expect(rig.run(['doctor']).stdout).toMatch(/^ok {7}tidemark: version/);
  });

  test('names what is broken, and makes nothing', () => {
    const fresh = rig.path('fresh');
    const cases: [string, NodeJS.ProcessEnv, string][] = [
      ['no store', { TIDEMARK_STORE: rig.path('no-store') }, 'store'],
      ['another store', { TIDEMARK_STORE: rig.path('empty/store') }, 'store'],
      ['another identity', { TIDEMARK_IDENTITY: rig.path('empty/identity') }, 'identity'],
      ['Postgres unreachable', { TIDEMARK_REGISTRY_URL: 'postgres://me:secret@127.0.0.1:1/db' }, 'registry'],
      ['a second registry', { TIDEMARK_HOME: fresh, TIDEMARK_STORE: rig.path('home/store') }, 'store'],
    ];
    const before = readdirSync(rig.base).toSorted();
    for (const [what, env, name] of cases) {
      const { status: exit, lines, stdout } = rig.json(['doctor'], env);
      expect([exit, status(lines, name)], `${what}: ${stdout}`).toEqual([1, 'failed']);
      expect(lines.find((line) => line.name === name)?.guidance).toMatch(/\w/);
      expect(stdout).not.toContain('secret@');
    }
    expect(readdirSync(rig.base).toSorted()).toEqual(before);
  });

  test('warns of misspelt variables', () => {
    const { lines, status: exit } = rig.json(['doctor'], { TIDEMARK_STROE: 'x' });
    expect([exit, status(lines, 'environment')]).toEqual([0, 'warning']);
  });
});
