import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Rig } from './rig.ts';

let rig: Rig;
let source: string;
const files = new Map<string, Buffer>();

beforeAll(() => {
  rig = new Rig('compression');
  source = rig.folder('source');
  const words = Array.from({ length: 2000 }, (_, i) => ((i * 2654435761) >>> 0).toString(36));
  const picks = randomBytes(600_000);
  let text = '';
  for (let at = 0; at < picks.length; at += 2) text += `${words[picks.readUInt16LE(at) % words.length]} `;
  files.set('text', Buffer.from(text));
  files.set('noise', randomBytes(50_000));
  for (const [name, bytes] of files) writeFileSync(join(source, name), bytes);
});

afterAll(() => rig.dispose());

const bytesBelow = (dir: string): number =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);

test('each compression is read back the same, and takes less space than the one before', {
  timeout: 180_000,
}, () => {
  const sizes = ['off', 'fast', 'better'].map((compression) => {
    const env = { TIDEMARK_STORE: rig.path(`store-${compression}`), TIDEMARK_HOME: rig.path(compression) };
    const made = rig.json(['backup', source, '--compression', compression], env);
    expect(made).toMatchObject({ status: 0, last: { files: 2 } });
    const target = rig.path(`restored-${compression}`);
    expect(rig.json(['restore', 'latest', '--to', target], env).status).toBe(0);
    for (const [name, bytes] of files) expect(readFileSync(join(target, name)).equals(bytes)).toBe(true);
    return bytesBelow(join(env.TIDEMARK_STORE, 'packs'));
  });
  const plain = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  expect(sizes[0]).toBeGreaterThan(plain);
  expect(sizes[1]).toBeLessThan(sizes[0]! * 0.8);
  expect(sizes[2]).toBeLessThan(sizes[1]! * 0.99);
});

test('what was stored under one compression is not stored again under another', { timeout: 60_000 }, () => {
  const env = { TIDEMARK_STORE: rig.path('store-fast'), TIDEMARK_HOME: rig.path('fast') };
  const again = rig.json(['backup', source, '--full', '--compression', 'better'], env);
  expect(again).toMatchObject({ status: 0, last: { newBytes: 0 } });
});

test('another word is refused by name', { timeout: 60_000 }, () => {
  const { status, last } = rig.json(['backup', source, '--compression', 'best']);
  expect({ status, code: last.code }).toEqual({ status: 2, code: 'TM1002' });
  expect(last.message).toContain('--compression=best: expected off, fast, better');
});
