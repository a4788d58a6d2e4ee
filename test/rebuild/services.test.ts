import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ControlRig, type Running, type TestAgent } from '../../libs/control/rig.suite.ts';
import { Engine } from '../../libs/embedded/engine.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, Rig } from './rig.ts';

let services: ControlRig;
let rig: Rig;
let running: Running;
const agents: TestAgent[] = [];
const labels: string[] = [];

const source = (number: number) => services.folder(`source${number}`);

beforeAll(async () => {
  services = await ControlRig.make();
  rig = new Rig('services');
  running = await services.run();
  for (const number of [0, 1]) {
    agents.push(await services.agent(running, `host${number}`));
    writeFileSync(join(source(number), 'file'), `of host ${number}\n`.repeat(9_000));
    await services.backUp(running, agents[number]!, source(number));
    writeFileSync(join(source(number), 'later'), `of host ${number}`);
    labels.push((await services.backUp(running, agents[number]!, source(number))).label);
  }
});
afterAll(async () => {
  await rig.close();
  await services.close();
});

test('a store that only services have written to is rebuilt with an identity file alone: all agents’ backups are restored', async () => {
  const identity = rig.path('key');
  writeFileSync(identity, `${services.identity}\n`);
  mkdirSync(rig.path('home'), { mode: 0o711 });
  chmodSync(identity, 0o600);
  const more = ['--store', services.config.storeUrl, '--identity', identity];
  const { last } = rig.done('home', 'registry', 'rebuild', ...more);
  expect(last).toMatchObject({ sources: 2, backups: 4, findings: 0, foreignSources: 0 });
  const listed = rig.done('home', 'backups', ...more).lines.filter(({ type }) => type === 'backup');
  expect(listed.map((line) => line.source)).toEqual([source(0), source(0), source(1), source(1)]);
  for (const number of [0, 1]) {
    const target = rig.path(`restored${number}`);
    rig.done(
      'home',
      'restore',
      labels[number]!,
      '--source',
      `host${number}:${source(number)}`,
      '--to',
      target,
      ...more,
    );
    expectSame(source(number), target);
  }
  const { storeUrl } = services.config;
  const engine = await Engine.open(rig.config('home', { storeUrl, identityFile: identity, create: false }));
  const { access, domains, catalogue } = engine.registry;
  expect((await access.agents()).map(({ uid, name }) => [uid, name])).toEqual(
    agents.map(({ id }, number) => [id, `host${number}`]),
  );
  expect((await domains.list()).map(({ id }) => id).toSorted()).toEqual(
    agents.map(({ domain }) => domain.id).toSorted(),
  );
  expect((await catalogue.sources({ afterId: 0, limit: 9 })).map(({ agentUid }) => agentUid)).toEqual(
    agents.map(({ id }) => id),
  );
  await engine.close();
});

test('a control plane whose store was claimed by the rebuilt registry enrols nobody any more', async () => {
  await expect(services.agent(running, 'late')).rejects.toMatchObject({ code: 'TM1207' });
});
