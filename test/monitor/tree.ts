import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PER_DIRECTORY = 50;

/** Of the i-th file. */
export function pathInTree(root: string, i: number, perDirectory = PER_DIRECTORY): string {
  const dir = Math.floor(i / perDirectory);
  return join(root, `d${Math.floor(dir / 20)}`, `e${dir}`, `f${i}`);
}

/** Directories of files, `perDirectory` in each. */
export function makeTree(root: string, files: number, perDirectory = PER_DIRECTORY): void {
  for (let i = 0; i < files; i++) {
    const path = pathInTree(root, i, perDirectory);
    if (i % perDirectory === 0) mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `file ${i}\n`.repeat(i % 60));
  }
}
