import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { generateIdentity, newDomain, recipientOf, wrapDomain } from '../../libs/blocks/keys.ts';
import { domainKeyName } from '../../libs/cell/domain-key-name.ts';
import { saveDomain } from '../../libs/embedded/domain-files.ts';
import { Home } from '../../libs/embedded/home.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { expectSame, Rig } from './rig.ts';

let rig: Rig;
/** Domain and source of each: the store's first, one of the same identity, and one of somebody else's. */
const domains: string[] = [];
const labels: string[] = [];
const keyFiles: string[] = [];

const source = (number: number) => rig.path(`source${number}`);
const isListed = (home: string) =>
  rig
    .done(home, 'backups')
    .lines.filter(({ type }) => type === 'backup')
    .map(({ source }) => source);

/** The home writes into a domain of its own from now on, whose keys are wrapped to the recipient. */
async function enterDomain(recipient: string): Promise<void> {
  const home = await Home.open(rig.path('home'));
  const { digestKey } = JSON.parse(readFileSync(home.domainFile, 'utf8')) as { digestKey: string };
  const made = await newDomain(randomUUID(), Buffer.from(digestKey, 'base64'));
  const file = join(rig.store, domainKeyName(made.id, 1, recipient));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, await wrapDomain(made, [recipient]));
  const { identity: _, ...domain } = made;
  await saveDomain(home, domain);
  domains.push(made.id);
  keyFiles.push(file);
}

function backUp(number: number): void {
  mkdirSync(source(number));
  writeFileSync(join(source(number), 'file'), `of source ${number}\n`.repeat(9_000));
  writeFileSync(join(source(number), 'shared'), 'the same in all of them\n'.repeat(9_000));
  labels.push(rig.done('home', 'backup', source(number), '--tag', `number=${number}`).last.label!);
  writeFileSync(join(source(number), 'later'), `source ${number}`);
  labels[number] = rig.done('home', 'backup', source(number)).last.label!;
}

function newHome(name: string): void {
  mkdirSync(rig.path(name), { mode: 0o711 });
  copyFileSync(rig.path('home', 'identity'), rig.path(name, 'identity'));
}

function expectRestores(home: string, number: number): void {
  const target = rig.path(`${home}-${number}`);
  rig.done(home, 'restore', labels[number]!, '--source', source(number), '--to', target);
  expectSame(source(number), target);
}

beforeAll(async () => {
  rig = new Rig('domains');
  const first = readRecipient();
  backUp(0);
  await enterDomain(await first);
  backUp(1);
  await enterDomain(await recipientOf(await generateIdentity()));
  backUp(2);
}, 60_000);

async function readRecipient(): Promise<string> {
  rig.done('home', 'init');
  const identity = readFileSync(rig.path('home', 'identity'), 'utf8').trim();
  return recipientOf(identity);
}

afterAll(() => rig.close());

test('a rebuild takes in every domain that the identity opens, and counts what it does not', () => {
  newHome('new');
  const { last, lines } = rig.done('new', 'registry', 'rebuild');
  expect(lines).toHaveLength(1);
  expect(last).toMatchObject({ sources: 2, backups: 4, findings: 0, foreignSources: 1 });
  expect(isListed('new')).toEqual([source(0), source(0), source(1), source(1)]);
  expectRestores('new', 0);
  expectRestores('new', 1);
  expect(rig.done('new', 'find', 'later').lines.filter(({ type }) => type === 'found')).toHaveLength(2);
});

test('damaged keys of one domain are named, and the others are rebuilt', () => {
  newHome('damaged');
  const whole = readFileSync(keyFiles[0]!);
  writeFileSync(keyFiles[0]!, whole.subarray(0, -20));
  const { status, last, lines } = rig.tidemark('damaged', ['registry', 'rebuild', '--take-over']);
  writeFileSync(keyFiles[0]!, whole);
  expect(status).toBe(4);
  expect(lines.find(({ type }) => type === 'finding')).toMatchObject({
    code: 'TM1404',
    message: expect.stringContaining(`backups of domain ${domains[0]} cannot be rebuilt`),
  });
  expect(last).toMatchObject({ sources: 1, backups: 2, findings: 1, foreignSources: 2 });
  expectRestores('damaged', 0);
  rmSync(rig.path('damaged', 'agent', 'domain.json'));
  expect(isListed('damaged')).toEqual([source(0), source(0)]);
});
