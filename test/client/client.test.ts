import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { generateIdentity } from '../../libs/blocks/keys.ts';
import { agentRoutes } from '../../libs/contracts/api/control.ts';
import { HttpClient } from '../../libs/http/client.ts';
import { MAIN } from '../cli/rig.ts';
import type { Line, Result, Running } from '../command.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { differences, editTree, makeTree, run, Services } from './services.suite.ts';

let services: Services;
let source: string;
let env: NodeJS.ProcessEnv;
const labels: string[] = [];

const tidemark = (...args: string[]): Promise<Result> => services.place.run(args, env);
const ok = (...args: string[]): Promise<Result> => services.place.ok(args, env);
const withType = (lines: readonly Line[], type: string) => lines.filter((line) => line.type === type);

beforeAll(async () => {
  services = await Services.start('client');
  env = await services.client();
  source = services.place.path('source');
  makeTree(source);
}, 120_000);

afterAll(() => services?.close(), 60_000);

test("a host that is not enrolled says so; init enrols it once, and its secrets are its owner's alone", async () => {
  expect(await tidemark('backup', source)).toMatchObject({ status: 2, last: { code: 'TM1002' } });
  const { token } = await services.token('enrol');
  const { last } = await services.place.ok(['init'], { ...env, TIDEMARK_ENROL_TOKEN: token });
  expect(last).toMatchObject({ type: 'summary', server: services.url, home: services.place.home });
  const file = join(services.place.home, 'agent/server.json');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const kept = readFileSync(file, 'utf8');
  expect((await services.place.ok(['init'], env)).last.agentId).toBe(last.agentId);
  expect(readFileSync(file, 'utf8')).toBe(kept);
});

test('a full and three differentials of every kind of entry restore exactly', {
  timeout: 300_000,
}, async () => {
  for (let round = 0; round <= 3; round++) {
    if (round > 0) editTree(source, round);
    const { last } = await ok('backup', source, '--tag', `round=${round}`);
    const isFull = round === 0;
    expect(last).toMatchObject({
      kind: isFull ? 'full' : 'differential',
      baseline: isFull ? null : labels[0],
    });
    labels.push(last.label!);
    run('cp', '-a', source, services.place.path(`copy${round}`));
  }
  expect((await ok('backup', source)).last).toMatchObject({ added: 0, changed: 0, deleted: 0, newBytes: 0 });
  for (let round = 0; round <= 3; round++) {
    const target = services.place.path(`restored${round}`);
    await ok('restore', labels[round]!, '--to', target);
    expect(differences(services.place.path(`copy${round}`), target)).toEqual({});
  }
  const target = services.place.path('restored3');
  await ok('restore', labels[0]!, '--to', target, '--delete');
  expect(differences(services.place.path('copy0'), target)).toEqual({});
});

test('a home without state goes on as a differential', { timeout: 120_000 }, async () => {
  const agent = join(services.place.home, 'agent');
  for (const name of readdirSync(agent)) if (name.endsWith('.state')) run('rm', join(agent, name));
  const { last } = await ok('backup', source);
  expect(last).toMatchObject({
    kind: 'differential',
    added: 0,
    changed: 0,
    metadata: 0,
    deleted: 0,
    newBytes: 0,
  });
});

test('lists, differences, search and contents are those of the registry', { timeout: 120_000 }, async () => {
  const listed = withType((await ok('backups', source)).lines, 'backup');
  expect(listed.map((line) => line.label).slice(0, 4)).toEqual(labels);
  expect(listed[1]).toMatchObject({ baseline: labels[0], source, tags: { round: '1' }, seq: 2 });
  const changed = withType((await ok('diff', labels[1]!)).lines, 'change');
  expect(changed.length).toBeGreaterThan(0);
  expect(withType((await ok('diff', labels[0]!, labels[1]!)).lines, 'change')).toEqual(changed);
  expect(withType((await ok('diff', labels[0]!)).lines, 'change')).toEqual([]);
  const deleted = withType((await ok('diff', labels[0]!, labels[3]!)).lines, 'change');
  const gone = deleted.find((line) => line.op === 'deleted' && typeof line.path === 'string')!;
  const name = (gone.path as string).split('/').at(-1)!;
  const found = withType((await ok('find', name)).lines, 'found');
  expect(found).toContainEqual(expect.objectContaining({ path: gone.path, source, deleted: true }));
  const entries = withType((await ok('ls', labels[3]!, '--recursive')).lines, 'entry');
  expect(entries[0]).toMatchObject({ path: '.', kind: 'directory' });
  const file = entries.find(
    (line) => line.kind === 'file' && Number(line.size) > 0 && typeof line.path === 'string',
  )!;
  const path = file.path as string;
  expect(withType((await ok('ls', labels[3]!, path)).lines, 'entry')).toEqual([file]);
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'cat', labels[3]!, path], {
    env: { ...services.place.env, ...env },
    encoding: 'buffer',
    maxBuffer: 1 << 28,
  });
  expect(stdout.equals(readFileSync(services.place.path('copy3', path)))).toBe(true);
  expect(await tidemark('cat', labels[3]!, 'no/such')).toMatchObject({
    status: 10,
    last: { code: 'TM1704' },
  });
  expect(await tidemark('ls', '1999')).toMatchObject({ status: 10, last: { code: 'TM1701' } });
});

test('verify proves what there is, and names every file that damage hits', { timeout: 120_000 }, async () => {
  expect((await ok('verify')).last).toMatchObject({ type: 'summary', packsRead: 0, findings: 0 });
  const { last } = await ok('verify', '--read-data');
  expect(last).toMatchObject({ findings: 0, packsRead: last.packs });
  expect(last.blocks).toBeGreaterThan(10);
  const pack = largestPack();
  const whole = readFileSync(pack);
  const broken = Buffer.from(whole);
  broken[100]! ^= 1;
  rewrite(pack, broken);
  expect((await tidemark('verify')).status).toBe(0);
  const found = await tidemark('verify', '--read-data');
  expect(found.status).toBe(4);
  const findings = withType(found.lines, 'finding');
  expect(findings).toContainEqual(expect.objectContaining({ object: expect.stringMatching(/^packs\//) }));
  expect(findings).toContainEqual(expect.objectContaining({ label: labels[0], path: expect.anything() }));
  rewrite(pack, whole);
  expect((await ok('verify', '--read-data')).last.findings).toBe(0);
});

test('status says how each folder stands', async () => {
  const { lines, last } = await ok('status');
  expect(lines[0]).toMatchObject({
    type: 'status',
    source,
    lastFull: { label: labels[0], kind: 'full', state: 'committed' },
    open: null,
    failed: null,
  });
  expect(lines[0]!.ageSeconds).toBeGreaterThanOrEqual(0);
  expect(last).toMatchObject({ type: 'summary', sources: 1, underWay: 0, failed: 0 });
});

test('status and coverage tell what the agent said of its watch', async () => {
  const { registry } = services.cell;
  const [row] = await registry.backups.sources();
  const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);
  const gap = { gap: 1, reason: 'overflow', openedAt: ago(30), endedAt: ago(20), closedAt: ago(19) };
  const open = { gap: 2, reason: 'watch-limit', openedAt: ago(10), endedAt: undefined, closedAt: undefined };
  const report = {
    ...{ kind: 'inotify', state: 'watching', pending: 2, oldestChange: ago(1) },
    ...{ run: { startedAt: ago(60), seenAt: ago(0) }, gaps: [gap, open] },
  };
  await registry.watches.report(row!.id, report, await registry.now());
  const { lines } = await ok('status');
  const watch = { type: 'watch', source, by: 'inotify', state: 'watching', pending: 2, exceeded: false };
  expect(lines).toContainEqual(expect.objectContaining({ ...watch, gaps: ['watch-limit'] }));
  expect(lines.find(({ type }) => type === 'watch')!.recoveryPoint).toBeGreaterThanOrEqual(60);
  const covered = await ok('coverage', source);
  expect(withType(covered.lines, 'span').map(({ kind }) => kind)).toEqual([
    ...['unwatched', 'watched', 'gap', 'watched', 'gap'],
  ]);
  expect(covered.last).toMatchObject({ type: 'summary', sources: 1, gaps: 2, openGaps: 1 });
});

test("with the agent's own token its backups can be listed and not be read back", async () => {
  const agent = { ...env, TIDEMARK_TOKEN: '' };
  const listed = await services.place.ok(['backups', source], agent);
  expect(withType(listed.lines, 'backup').length).toBeGreaterThan(4);
  const read = await services.place.run(['restore', 'latest', '--to', services.place.path('no')], agent);
  expect(read).toMatchObject({ status: 1, last: { code: 'TM1802' } });
});

test('another host has keys of its own, and one client reads both', { timeout: 120_000 }, async () => {
  const other = services.place.path('other-home');
  mkdirSync(services.place.path('two'));
  writeFileSync(services.place.path('two/file'), 'of the other host');
  const { token } = await services.token('enrol');
  const there = { ...env, TIDEMARK_HOME: other, TIDEMARK_ENROL_TOKEN: token };
  mkdirSync(other);
  writeFileSync(join(other, 'home.json'), JSON.stringify({ version: 1, agent: 'elsewhere', writer: 'none' }));
  const { last } = await services.place.ok(['backup', services.place.path('two')], there);
  const name = `elsewhere:${services.place.path('two')}`;
  const target = services.place.path('two-restored');
  await ok('restore', 'latest', '--source', name, '--to', target);
  expect(differences(services.place.path('two'), target)).toEqual({});
  expect(await tidemark('ls', 'latest')).toMatchObject({ status: 10, last: { code: 'TM1702' } });
  expect((await ok('backups', name)).lines.map((line) => line.label)).toEqual([last.label]);
  expect((await ok('verify', '--read-data')).last.findings).toBe(0);
});

test('tokens that are wrong, revoked, missing or too weak are told from each other', {
  timeout: 60_000,
}, async () => {
  const list = (more: NodeJS.ProcessEnv) => services.place.run(['backups'], { ...env, ...more });
  const nowhere = { TIDEMARK_HOME: services.place.path('nobody') };
  expect(await list({ ...nowhere, TIDEMARK_TOKEN: '' })).toMatchObject({
    status: 1,
    last: { code: 'TM1801' },
  });
  const wrong = await list({ TIDEMARK_TOKEN: 'tm_reader_00112233-4455-6677-8899-aabbccddeeff_c2VjcmV0' });
  expect(wrong).toMatchObject({ status: 1, last: { code: 'TM1801' } });
  const { id, token } = await services.token('reader');
  expect((await list({ TIDEMARK_TOKEN: token })).status).toBe(0);
  await services.revoke(id);
  const revoked = await list({ TIDEMARK_TOKEN: token });
  expect(revoked).toMatchObject({
    status: 1,
    last: { code: 'TM1801', guidance: expect.stringContaining('TIDEMARK_TOKEN') },
  });
  expect(revoked.text).not.toContain(token);
  const used = await services.token('enrol');
  const enrol = (home: string) =>
    services.place.run(['init'], {
      ...env,
      TIDEMARK_HOME: services.place.path(home),
      TIDEMARK_ENROL_TOKEN: used.token,
    });
  expect((await enrol('first')).status).toBe(0);
  expect(await enrol('second')).toMatchObject({ status: 1, last: { code: 'TM1804' } });
});

test('a token in a file is taken where nobody else may read it', async () => {
  const file = services.place.path('token');
  writeFileSync(file, `${(await services.token('reader')).token}\n`, { mode: 0o600 });
  const list = () =>
    services.place.run(['backups'], { ...env, TIDEMARK_TOKEN: '', TIDEMARK_TOKEN_FILE: file });
  expect((await list()).status).toBe(0);
  run('chmod', '640', file);
  expect(await list()).toMatchObject({ status: 1, last: { code: 'TM1405' } });
});

test('another identity opens nothing', async () => {
  const identity = services.place.path('stranger');
  writeFileSync(identity, `${await generateIdentity()}\n`, { mode: 0o600 });
  const target = services.place.path('no');
  const args = ['restore', labels[0]!, '--to', target, '--identity', identity];
  expect(await tidemark(...args)).toMatchObject({ status: 1, last: { code: 'TM1401' } });
});

test('a server that is away is said to be away', { timeout: 60_000 }, async () => {
  const { status, last } = await services.place.run(['backups'], {
    ...env,
    TIDEMARK_SERVER: 'http://127.0.0.1:9',
  });
  expect({ status, code: last.code }).toEqual({ status: 1, code: 'TM1805' });
});

test('commands that need a registry at hand refuse a server', async () => {
  for (const args of [
    ['prune'],
    ['expire', '--keep-last', '1'],
    ['pin', 'latest'],
    ['backup', source, '--dry-run'],
  ])
    expect(await tidemark(...args), args.join(' ')).toMatchObject({ status: 2, last: { code: 'TM1001' } });
});

test('an interrupted backup ends within ten seconds, and frees the folder', {
  timeout: 120_000,
}, async () => {
  const many = services.place.path('many');
  mkdirSync(many);
  run('sh', '-c', `cd ${many} && head -c 120000000 /dev/urandom | split -b 40000`);
  const running = services.place.start(['backup', many], env);
  await running.begun();
  const asked = performance.now();
  running.kill('SIGINT');
  expect(await running.ended).toMatchObject({ status: 130, last: { code: 'TM1508' } });
  expect(performance.now() - asked).toBeLessThan(10_000);
  expect((await ok('backup', many)).last).toMatchObject({ kind: 'full', files: 3000 });
});

test('while the agent of the host runs, a second one says so', { timeout: 60_000 }, async () => {
  const { server, token } = JSON.parse(readFileSync(join(services.place.home, 'agent/server.json'), 'utf8'));
  const running = new HttpClient({ server, token, instance: '00112233-4455-6677-8899-aabbccddeeff' });
  await running.call(agentRoutes.signOn, { body: {} });
  const { status, last } = await tidemark('backup', source);
  expect({ status, code: last.code }).toEqual({ status: 11, code: 'TM1803' });
  expect(last.message).toContain('is running already');
  expect((await ok('jobs')).lines).toEqual([]); // it was asked, took nothing, and the wish was withdrawn
  await running.call(agentRoutes.signOff, { body: {} });
  running.close();
  await ok('backup', source);
});

test('what the services find damaged is read and stored anew by the next backup', {
  timeout: 120_000,
}, async () => {
  const pack = largestPack();
  const whole = readFileSync(pack);
  rewrite(pack, whole.subarray(1));
  const cut = await tidemark('verify');
  expect(cut.status).toBe(4);
  expect(withType(cut.lines, 'finding')).toContainEqual(expect.objectContaining({ code: 'TM1206' }));
  const { last } = await ok('backup', services.place.path('many'));
  expect(last.newBytes).toBeGreaterThan(0);
  const target = services.place.path('many-restored');
  await ok('restore', last.label!, '--to', target);
  expect(differences(services.place.path('many'), target)).toEqual({});
});

// The last one: its agent counts as signed on for a minute.
/** A backup is interrupted whose server has just stopped answering. */
async function interruptedWhileHanging(test: (running: Running) => Promise<void>): Promise<void> {
  const proxy = await hangingProxy(new URL(services.url).port);
  const hung = { ...env, TIDEMARK_SERVER: `http://127.0.0.1:${proxy.port}` };
  try {
    const running = services.place.start(['backup', services.place.path('many'), '--full'], hung);
    await running.begun();
    proxy.hang();
    running.kill('SIGINT');
    await test(running);
  } finally {
    proxy.close();
  }
}

test('an interrupt is answered within ten seconds where the server hangs', { timeout: 60_000 }, async () => {
  await interruptedWhileHanging(async (running) => {
    const asked = performance.now();
    expect(await running.ended).toMatchObject({ status: 130, last: { code: 'TM1508' } });
    expect(performance.now() - asked).toBeLessThan(10_000);
  });
});

test('who does not want to wait for that interrupts once more', { timeout: 60_000 }, async () => {
  await interruptedWhileHanging(async (running) => {
    await sleep(1500); // sooner it would be the same wish
    running.kill('SIGINT');
    expect((await running.ended).status).toBeNull();
  });
});

function largestPack(): string {
  const packs = readdirSync(services.place.path('store/packs'), { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name));
  return packs.reduce((a, b) => (statSync(a).size >= statSync(b).size ? a : b));
}

function rewrite(file: string, bytes: Buffer): void {
  run('chmod', '600', file);
  writeFileSync(file, bytes);
}

/** Passes bytes on until it hangs: then it takes connections and bytes, and nothing comes back. */
async function hangingProxy(port: string) {
  const sockets = new Set<Socket>();
  let isHung = false;
  const server = createServer((client) => {
    const upstream = connect(Number(port), '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (bytes) => isHung || upstream.write(bytes));
    upstream.on('data', (bytes) => isHung || client.write(bytes));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    hang() {
      isHung = true;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
