import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, check, close, openDirAt, read } from '../../libs/posix/index.ts';
import { eachInotifyEvent, IN, inotifyInit, inotifyWatch } from '../../libs/posix/inotify.ts';

/** IN_OPEN and IN_CLOSE_NOWRITE of inotify(7), which no watch of ours asks for. */
const OPENED = 0x20;
const CLOSED = 0x10;

/** What is opened in the directories that a tree has now, by whomever, wherever these directories go. */
export class Opened {
  readonly #inotify = check(inotifyInit(), 'inotify_init1');
  readonly #buffer = Buffer.alloc(1 << 20);

  constructor(tree: string) {
    const entries = readdirSync(tree, { recursive: true, withFileTypes: true });
    const below = entries.filter((one) => one.isDirectory());
    for (const dir of [tree, ...below.map(({ parentPath, name }) => join(parentPath, name))])
      this.#watch(dir);
  }

  /** Names of files since it was asked last, as often as each was opened. Where the kernel had to drop some, 'overflow' is one. */
  take(): string[] {
    return this.takeAll().files;
  }

  takeAll(): { files: string[]; directories: string[] } {
    const files: string[] = [];
    const directories: string[] = [];
    for (let length = this.#read(); length > 0; length = this.#read())
      eachInotifyEvent(this.#buffer, length, ({ mask, name }) => {
        if (mask & IN.overflow) files.push('overflow');
        else if (mask & OPENED && name !== '') (mask & IN.isDirectory ? directories : files).push(name);
      });
    return { files, directories };
  }

  close(): void {
    close(this.#inotify);
  }

  #read = (): number => read(this.#inotify, this.#buffer);

  /** The kernel makes one of two equal events in a row: hence the closing too. */
  #watch(dir: string): void {
    const fd = check(openDirAt(AT_FDCWD, Buffer.from(dir)), 'openat');
    check(inotifyWatch(this.#inotify, fd, OPENED | CLOSED), 'inotify_add_watch');
    close(fd);
  }
}
