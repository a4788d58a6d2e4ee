import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFileStore } from './file-store.ts';

const MODULE = new URL('./file-store.ts', import.meta.url).href;
const OBJECT_BYTES = 4 * 1024 * 1024;

/** Opens the store at argv[1]; argv[2] says 'link' or 'rename', argv[3] what this process writes. */
const PRELUDE = `
  import { openFileStore } from '${MODULE}';
  const refuse = async () => {
    throw Object.assign(new Error('refused'), { code: 'EPERM', syscall: 'link' });
  };
  const [url, by, mine] = process.argv.slice(1);
  const store = await openFileStore(url, by === 'rename' ? { create: false, hardLink: refuse } : { create: false });
`;
/** Once told to go, creates names in turn and prints what came of each. */
const RACE = `${PRELUDE}
  console.log('ready');
  await new Promise((go) => process.stdin.once('data', go));
  const outcomes = [];
  for (let i = 0; i < 150; i++) {
    const bytes = Buffer.from(i % 2 ? 'the same' : mine);
    outcomes.push(await store.create('journal/' + i, [bytes]).catch((error) => error.code));
  }
  console.log(JSON.stringify(outcomes));
  process.exit();
`;
/** Creates large objects, each filled with its number, until it is killed. */
const ENDLESS = `${PRELUDE}
  for (let i = 0; ; i++) await store.create('packs/' + i, Array(64).fill(Buffer.alloc(${OBJECT_BYTES / 64}, i)));
`;

describe('file store between processes', () => {
  let folder: string;
  const children: ChildProcess[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await end(child);
    await rm(folder, { recursive: true });
  });

  function start(script: string, by: string, mine = ''): ChildProcess {
    const args = ['--input-type=module', '-e', script, pathToFileURL(folder).href, by, mine];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  }

  async function end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  for (const by of ['link', 'rename']) {
    it(`lets one of two processes win each name (by ${by})`, async () => {
      const racers = ['one', 'two'].map((mine) => start(RACE, by, mine));
      const lines = racers.map((child) => createInterface({ input: child.stdout! })[Symbol.asyncIterator]());
      for (const line of lines) expect((await line.next()).value).toBe('ready');
      for (const child of racers) child.stdin!.write('go');
      const outcomes = await Promise.all(
        lines.map(async (line) => JSON.parse(String((await line.next()).value)) as string[]),
      );
      for (let i = 0; i < 150; i++) {
        const both = outcomes.map((outcome) => outcome[i]).sort();
        expect(both).toEqual(i % 2 ? ['created', 'existed'] : ['TM1210', 'created']);
      }
      expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    });

    it(`shows no part of an object whose writer was killed (by ${by})`, async () => {
      for (let round = 0; round < 4; round++) {
        const child = start(ENDLESS, by);
        await whileRunning(child, async () => (await list(join(folder, 'packs'))).length > 0);
        await whileRunning(child, () => hasPartOfFile(join(folder, 'tmp')));
        await end(child);
        await expectWholeObjects();
        await rm(join(folder, 'packs'), { recursive: true });
      }
    });
  }

  async function expectWholeObjects(): Promise<void> {
    const store = await openFileStore(pathToFileURL(folder).href, { create: false });
    let count = 0;
    for await (const { name, size } of store.list('')) {
      expect(size).toBe(OBJECT_BYTES);
      const wanted = Buffer.alloc(OBJECT_BYTES, Number(name.split('/')[1]));
      expect((await store.read(name)).equals(wanted)).toBe(true);
      count++;
    }
    expect(count).toBeGreaterThan(0);
  }
});

const list = (path: string): Promise<string[]> => readdir(path).catch(() => []);

/** Whether a file is there that is begun and not finished. */
async function hasPartOfFile(path: string): Promise<boolean> {
  for (const name of await list(path)) {
    const { size } = await stat(join(path, name)).catch(() => ({ size: 0 }));
    if (size > 0 && size < OBJECT_BYTES) return true;
  }
  return false;
}

async function whileRunning(child: ChildProcess, condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) if (child.exitCode !== null) throw new Error('the process ended by itself');
}
