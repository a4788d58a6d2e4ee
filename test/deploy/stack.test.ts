import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { test } from '../needs.ts';
import { buildImage, docker, engineMissing, IMAGE, leftOfProject, removeLeftovers, TOP } from './engine.ts';
import { jsonLines, Stack } from './stack.ts';

const BUILD_MS = 600_000;
const SERVICES = ['control-plane', 'delta-calculator', 'fs-monitor-agent', 'storage-writer'];
const STEPS = ['bucket', 'secrets', 'setup'];
const TREEDIFF = join(import.meta.dirname, '../cycle/treediff.py');

/** What is looked at of a service in `docker compose config`. */
interface ServiceConfig {
  readonly ports?: readonly { readonly host_ip?: string }[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly privileged?: boolean;
  readonly healthcheck?: { readonly disable?: boolean };
  readonly networks: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly { readonly source: string }[];
}

if (engineMissing !== undefined) it('image and compose stack', (context) => context.skip(engineMissing));
else
  describe('deploy', () => {
    let stack: Stack;
    beforeAll(async () => {
      await removeLeftovers();
      await buildImage();
      stack = new Stack();
    }, BUILD_MS);
    afterAll(async () => {
      await stack?.dispose();
      await docker(['image', 'rm', '--force', IMAGE]);
    }, 120_000);

    const inImage = async (...command: string[]) =>
      (await docker(['run', '--rm', '--network', 'none', IMAGE, ...command])).trim();

    it('the image runs as a user without rights, on the pinned Node, and holds nothing but what runs', async () => {
      const [{ Config, Size }] = JSON.parse(await docker(['image', 'inspect', IMAGE]));
      const [base] = JSON.parse(await docker(['image', 'inspect', 'node:24-slim']));
      expect(Config.User).toBe('node');
      expect(Config.StopSignal).toBe('SIGTERM');
      expect(Config.Healthcheck.Test).toEqual(['CMD', 'node', 'deploy/health-check.mjs']);
      expect(Number(await inImage('id', '-u'))).toBeGreaterThan(0);
      const { engines } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'));
      expect((await inImage('node', '--version')).split('.')[0]).toBe(`v${engines.node.split('.')[0]}`);
      const listed = (await inImage('sh', '-c', 'ls /app /app/node_modules /app/node_modules/@*')).split(
        '\n',
      );
      expect(listed).toEqual(expect.arrayContaining(['dist', 'fastify', 'kafkajs', 'koffi']));
      const unwanted = [
        'apps',
        'libs',
        'test',
        'docs',
        'typescript',
        'vitest',
        'biome',
        'linux-x64',
        'testcontainers',
      ];
      expect(listed.filter((name) => unwanted.includes(name))).toEqual([]);
      expect(Size - base.Size).toBeLessThan(100 * 1024 * 1024);
      expect(await inImage('node', 'dist/apps/cli/main.js', '--version')).toMatch(/\d+\.\d+\.\d+/);
      // What it has of its own is not the running user's to change.
      expect(await inImage('sh', '-c', 'find /app -writable | head -3')).toBe('');
    });

    it('no port is open to others, no secret is written down, no service of ours may more than it needs', async () => {
      const text = await stack.compose('--profile', 'cli', 'config', '--format', 'json');
      const { services } = JSON.parse(text) as { services: Record<string, ServiceConfig> };
      for (const [name, service] of Object.entries(services)) {
        for (const { host_ip } of service.ports ?? []) expect([name, host_ip]).toEqual([name, '127.0.0.1']);
        for (const [variable, value] of Object.entries(service.environment ?? {}))
          if (/PASSWORD|TOKEN|SECRET|_URL|IDENTITY/.test(variable))
            expect(value).toMatch(/^\/run\/tidemark\//);
        expect(service.privileged ?? false).toBe(false);
        if (!SERVICES.includes(name)) continue;
        expect(service).toMatchObject({ cap_drop: ['ALL'], read_only: true });
        expect(service.healthcheck?.disable ?? false).toBe(false);
      }
      const networks = (name: string) => Object.keys(services[name]!.networks).sort();
      expect(networks('fs-monitor-agent')).toEqual(['api', 'messages']);
      expect(networks('delta-calculator')).toEqual(['messages', 'registry']);
      expect(networks('cli')).toEqual(['api']);
      const holders = (volume: string) =>
        Object.keys(services)
          .filter((name) => services[name]!.volumes?.some(({ source }) => source === volume))
          .sort();
      expect(holders('identity')).toEqual(['cli', 'secrets']);
      expect(holders('store-data')).toEqual(['gcs']);
    });

    it('comes up healthy with no step by hand', { timeout: 240_000 }, async () => {
      fill(stack.source);
      await stack.compose('up', '--detach', '--no-build');
      const containers = await stack.healthy(180_000);
      const named = (state: string) =>
        containers
          .filter(({ State }) => State === state)
          .map(({ Service }) => Service)
          .sort();
      expect(named('exited')).toEqual(STEPS);
      expect(named('running')).toEqual([...SERVICES, 'gcs', 'kafka', 'postgres'].sort());
      const unchecked = containers.filter(({ State, Health }) => State === 'running' && Health !== 'healthy');
      expect(unchecked.map(({ Service }) => Service)).toEqual(['gcs']);
    });

    it('its agent backs the folder up by itself: a full, and a differential by the policy', {
      timeout: 240_000,
    }, async () => {
      const backups = await stack.backupsUntil(({ length }) => length >= 2, 200_000);
      expect(backups.slice(0, 2)).toMatchObject([
        { kind: 'full', seq: 1, added: 7 },
        { kind: 'differential', seq: 2, added: 0, changed: 0 },
      ]);
    });

    it("events of every commit lie in the topic commits, without a gap, for Kafka's own consumer to read", {
      timeout: 120_000,
    }, async () => {
      const consumer = '/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server localhost:9092';
      const options = '--topic commits --from-beginning --max-messages 3 --timeout-ms 60000';
      const command = ['bash', '-c', `${consumer} ${options} 2>/dev/null`];
      const events = jsonLines(await stack.compose('exec', '-T', 'kafka', ...command));
      const labels = (await stack.backupsUntil(({ length }) => length >= 2, 1000)).map(({ label }) => label);
      const expected = [
        { type: 'backup.committed', data: { eventNo: 1, label: labels[0] } },
        { type: 'baseline.promoted', data: { eventNo: 2, seq: 1 } },
        { type: 'backup.committed', data: { eventNo: 3, label: labels[1] } },
      ].map((event) => ({ ...event, specversion: '1.0', source: events[0]!.source }));
      expect(events).toMatchObject(expected);
    });

    it('stops in order and comes up again with nothing lost; its agent then backs up what has changed', {
      timeout: 300_000,
    }, async () => {
      await stack.compose('stop');
      const stopped = (await stack.containers()).filter(({ Service }) => SERVICES.includes(Service));
      expect(stopped.map(({ Service, ExitCode }) => [Service, ExitCode]).sort()).toEqual(
        SERVICES.map((name) => [name, 0]),
      );
      appendFileSync(join(stack.source, 'text'), 'and more\n');
      await stack.compose('up', '--detach', '--no-build');
      await stack.healthy(180_000);
      const backups = await stack.backupsUntil(
        (all) => all.some(({ changed }) => Number(changed) > 0),
        150_000,
      );
      expect(backups.map(({ seq }) => seq)).toEqual(backups.map((_, i) => i + 1));
      expect(backups.map(({ kind }) => kind)).toEqual(
        backups.map((_, i) => (i === 0 ? 'full' : 'differential')),
      );
      expect(new Set(backups.map(({ source }) => source)).size).toBe(1);
    });

    test('restores through the API what is in the folder', { timeout: 120_000 }, async () => {
      const target = join(stack.base, 'restored');
      mkdirSync(target);
      const restore = ['restore', 'latest', '--to', '/restored'];
      const lines = await stack.tidemark(restore, ['--volume', `${target}:/restored`]);
      expect(lines.at(-1)).toMatchObject({ type: 'summary' });
      expect(readFileSync(join(target, 'text'), 'utf8')).toBe('a line\nand more\n');
      const { status, stdout } = spawnSync('python3', [TREEDIFF, stack.source, target], { encoding: 'utf8' });
      expect(JSON.parse(stdout)).toEqual({ diff: {}, examples: {} });
      expect(status).toBe(0);
    });

    it('down -v leaves nothing', { timeout: 120_000 }, async () => {
      expect((await leftOfProject()).length).toBeGreaterThan(0);
      await stack.compose('--profile', 'cli', 'down', '--volumes');
      expect(await leftOfProject()).toEqual([]);
      expect(existsSync(stack.source)).toBe(true);
    });
  });

/** Files of some kinds that the agent's user can read. */
function fill(folder: string): void {
  writeFileSync(join(folder, 'text'), 'a line\n');
  mkdirSync(join(folder, 'deep/er'), { recursive: true });
  writeFileSync(join(folder, 'deep/er/binary'), Buffer.alloc(3_000_000, 'tidemark'));
  writeFileSync(join(folder, 'empty'), '');
  symlinkSync('text', join(folder, 'link'));
}
