import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as posix from '../../../libs/posix/index.ts';
import { text } from './case.ts';

const FILES_EACH = 50;
const BYTES = 2000;

/** A tree of small files that goes with `close`. */
export class SmallTree {
  readonly base = mkdtempSync(join(tmpdir(), 'tidemark-micro-'));
  readonly root = join(this.base, 'tree');
  readonly rootFd: number;
  /** Directories and files, the root included. */
  readonly entries: number;

  constructor(directories: number) {
    const content = text(BYTES);
    mkdirSync(this.root);
    for (let d = 0; d < directories; d++) {
      const dir = join(this.root, `d${d}`);
      mkdirSync(dir);
      for (let f = 0; f < FILES_EACH; f++) {
        content.write(`${d}/${f} `);
        writeFileSync(join(dir, `f${f}.txt`), content);
      }
    }
    this.entries = 1 + directories * (FILES_EACH + 1);
    this.rootFd = posix.open(this.root, posix.O_RDONLY | posix.O_DIRECTORY);
  }

  close(): void {
    posix.close(this.rootFd);
    rmSync(this.base, { recursive: true });
  }
}
