import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'vitest';
import { packName } from '../../libs/blocks/pack.ts';
import type { Engine } from '../../libs/embedded/engine.ts';
import { rebuild } from '../../libs/embedded/rebuild.ts';
import { TmError } from '../../libs/model/errors.ts';
import { joinPath, pathToDisplay } from '../../libs/model/tree-path.ts';
import type { RebuildFinding } from '../../libs/rebuild/finding.ts';
import type { SourceRow } from '../../libs/registry/port.ts';
import { FaultyStore, faults } from '../../libs/store/faulty-store.ts';
import { openStore } from '../../libs/store/open-store.ts';
import { afterAll, beforeAll, test } from '../needs.ts';
import { backUp, expire, Rig } from './rig.ts';

let rig: Rig;
beforeAll(() => {
  rig = new Rig('runs');
});
afterAll(() => rig.close());

/** Paths and entry hashes of every committed backup of a source, and its problems, as the registry tells them. */
async function trees(engine: Engine, source: string): Promise<Map<string, unknown>> {
  const { backups, entries } = engine.registry;
  const row = (await backups.sources()).find((one) => one.root.toString() === source)!;
  const found = new Map<string, unknown>();
  for (const { label, seq } of await backups.list({ sourceId: row.id })) {
    const tree: string[] = [];
    for await (const page of entries.list(row.id, seq))
      for (const { dir, name, hash } of page)
        tree.push(`${pathToDisplay(joinPath(dir, name))} ${hash.toString('hex')}`);
    found.set(label, { seq, tree, problems: await backups.problems(row.id, seq) });
  }
  return found;
}

async function rebuilt(home: string, takeOver = false): Promise<RebuildFinding[]> {
  const findings: RebuildFinding[] = [];
  await rebuild(rig.config(home), {
    takeOver,
    onFinding: (finding) => findings.push(finding),
    onProgress: () => {},
  });
  return findings;
}

/** Numbers that repeat: a run that fails can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
}

/** Changes, deletes and brings back few names, so that most go away and come back between two kept backups. */
function edit(source: string, next: (below: number) => number): void {
  for (let n = 1 + next(4); n > 0; n--) {
    const file = `${source}/d${next(3)}/f${next(4)}`;
    const version = next(4);
    if (version === 0) rmSync(file, { force: true });
    else writeFileSync(file, `version ${version}`);
  }
}

test('trees of every kept backup are the same after rebuilds, over merged runs, expiries and fulls', {
  timeout: 180_000,
}, async () => {
  const source = rig.path('model');
  for (const d of [0, 1, 2]) mkdirSync(`${source}/d${d}`, { recursive: true });
  const next = random(7);
  for (let round = 0; round < 2; round++) {
    const before = await rig.withEngine('home', async (engine) => {
      for (let i = 0; i < 14; i++) {
        edit(source, next);
        await backUp(engine, source, i === 9 ? 'full' : undefined);
      }
      const row = (await engine.registry.backups.sources())[0]!;
      const { head, baseline } = row;
      const kept = await engine.registry.backups.list({ sourceId: row.id });
      const runs = await engine.registry.backups.runsOf(row.id, head);
      expect(runs.length).toBeLessThanOrEqual(8);
      const going = kept.filter(({ seq }) => seq !== head && seq !== baseline && next(2) === 0);
      // A full stays for the differentials that stay: the registry expires no other way.
      const needed = new Set(kept.filter((one) => !going.includes(one)).map((one) => one.baselineSeq));
      const seqs = going.map(({ seq }) => seq).filter((seq) => !needed.has(seq));
      expect(seqs.length).toBeGreaterThan(0);
      await expire(engine, source, seqs);
      expect((await engine.registry.backups.list({ sourceId: row.id })).length).toBe(
        kept.length - seqs.length,
      );
      return trees(engine, source);
    });
    expect(before.size).toBeGreaterThan(3);
    expect(await rebuilt('home')).toEqual([]);
    expect(await rig.withEngine('home', (engine) => trees(engine, source))).toEqual(before);
  }
});

test('what changed and changed back while backups expired survives a run that is merged after the rebuild', {
  timeout: 120_000,
}, async () => {
  const source = rig.path('back');
  mkdirSync(source);
  const fill = (name: string, files: number) => {
    for (let i = 0; i < files; i++) writeFileSync(`${source}/${name}${i}`, '');
  };
  await rig.withEngine('home', async (engine) => {
    fill('first', 400);
    writeFileSync(`${source}/there and back`, 'A');
    await backUp(engine, source);
    fill('second', 150); // a run so large that it is not merged with the small ones that follow
    writeFileSync(`${source}/there and back`, 'B');
    writeFileSync(`${source}/for a while`, '');
    await backUp(engine, source);
    writeFileSync(`${source}/there and back`, 'A');
    rmSync(`${source}/for a while`);
    await backUp(engine, source);
    await expire(engine, source, [2]);
  });
  expect(await rebuilt('home')).toEqual([]);
  const before = await rig.withEngine('home', async (engine) => {
    for (let i = 0; i < 7; i++) {
      writeFileSync(`${source}/counter`, String(i));
      await backUp(engine, source);
    }
    const runs = await engine.registry.backups.runsOf(row(await engine.registry.backups.sources()).id, 10);
    expect(runs.map(({ fromSeq, toSeq }) => [fromSeq, toSeq])).toContainEqual([2, 9]);
    await expire(engine, source, [3, 4, 5, 6, 7, 8]); // so that only the merged run tells of what they did
    return trees(engine, source);
    function row(sources: readonly SourceRow[]): SourceRow {
      return sources.find((one) => one.root.toString() === source)!;
    }
  });
  expect(await rebuilt('home')).toEqual([]);
  expect(await rig.withEngine('home', (engine) => trees(engine, source))).toEqual(before);
});

test('a backup whose run is damaged is named and left out; the others are rebuilt, and the next backup follows them', {
  timeout: 120_000,
}, async () => {
  const [hurt, well] = [rig.path('hurt'), rig.path('well')];
  for (const dir of [hurt, well]) mkdirSync(dir);
  writeFileSync(`${well}/file`, 'well');
  writeFileSync(`${hurt}/first`, 'first');
  const { before, pack, label } = await rig.withEngine('home', async (engine) => {
    await backUp(engine, well);
    await backUp(engine, hurt);
    const good = [await trees(engine, well), await trees(engine, hurt)];
    for (let i = 0; i < 1500; i++) writeFileSync(`${hurt}/${'long name '.repeat(12)}${i}`, '');
    // Old enough to be trusted, so that the next backup's run has the very same records and block id.
    const { ctimeMs } = statSync(`${hurt}/${'long name '.repeat(12)}1499`);
    while (Date.now() - ctimeMs < 100) await setImmediate();
    const last = await backUp(engine, hurt);
    const part = (await engine.registry.backups.runsOf(last.sourceId, last.seq)).at(-1)!.parts.at(-1)!;
    if (part.in !== 'pack') throw new Error('a run of that size lies in a pack');
    return { before: good, pack: part, label: last.label };
  });
  const file = `${rig.store}/${packName(Buffer.from(pack.pack, 'hex'))}`;
  const bytes = readFileSync(file);
  const altered = Buffer.from(bytes);
  altered[pack.frameOffset + 100]! ^= 1;
  rmSync(file);
  writeFileSync(file, altered);
  expect(await rebuilt('home')).toEqual([expect.objectContaining({ code: 'TM1601', label })]);
  await rig.withEngine('home', async (engine) => {
    expect([await trees(engine, well), await trees(engine, hurt)]).toEqual(before);
    const next = await backUp(engine, hurt);
    expect(next).toMatchObject({ seq: 3, baseSeq: 1, baselineSeq: 1, counts: { added: 1500 } });
    expect((await trees(engine, hurt)).size).toBe(2);
  });
  // The damaged one is off the path to the newest now: it is no finding any more, also when it is whole again.
  expect(await rebuilt('home')).toEqual([]);
  rmSync(file);
  writeFileSync(file, bytes);
  expect(await rebuilt('home')).toEqual([]);
  await rig.withEngine('home', async (engine) => {
    const labels = [...(await trees(engine, hurt)).keys()];
    expect(labels).toHaveLength(2);
    expect(labels).not.toContain(label);
  });
});

test('a pack that is lost is named, and the backups are rebuilt without its blocks', async () => {
  const source = rig.path('lost');
  mkdirSync(source);
  writeFileSync(`${source}/file`, 'a block that will be lost');
  const { before, file } = await rig.withEngine('home', async (engine) => {
    const { sourceId, seq } = await backUp(engine, source);
    const packs: string[] = [];
    for await (const page of engine.registry.blocks.packs(engine.domain.id))
      for (const { id } of page) packs.push(packName(id));
    expect(await engine.registry.backups.runsOf(sourceId, seq)).toHaveLength(1);
    return { before: await trees(engine, source), file: packs };
  });
  const newest = file
    .map((name) => ({ name, bytes: readFileSync(`${rig.store}/${name}`) }))
    .toSorted((a, b) => a.bytes.length - b.bytes.length)[0]!;
  writeFileSync(`${rig.store}/${newest.name}`, newest.bytes.subarray(0, -1));
  expect(await rebuilt('home')).toEqual([expect.objectContaining({ code: 'TM1206', object: newest.name })]);
  expect(await rig.withEngine('home', (engine) => trees(engine, source))).toEqual(before);
});

test('a rebuild that breaks off before or after any of its writes leaves no registry that works, and is run again', {
  timeout: 120_000,
}, async () => {
  const full = new TmError('TM1204', 'a fault of the test');
  const lost = { kind: 'lose-reply', error: full } as const;
  const before = await rig.withEngine('home', committed);
  for (const fault of [faults.full(), lost])
    for (const aim of [{ prefix: 'journal/' }, { prefix: 'owner/' }, { prefix: 'journal/', nth: 2 }]) {
      const broken = rig.config('home', {
        openStore: async (url, options) =>
          new FaultyStore(await openStore(url, options)).inject('create', fault, aim),
      });
      const request = { takeOver: false, onFinding: () => {}, onProgress: () => {} };
      await expect(rebuild(broken, request)).rejects.toMatchObject({ code: 'TM1204' });
      await expect(rig.withEngine('home', committed)).rejects.toMatchObject({ code: 'TM1208' });
    }
  await rebuilt('home');
  expect(await rig.withEngine('home', committed)).toEqual(before);
});

const committed = (engine: Engine) =>
  engine.registry.backups.list({}).then((all) => all.map(({ label, seq }) => ({ label, seq })));
