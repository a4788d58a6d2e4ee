import * as posix from '../posix/index.ts';

/** An open directory that is closed when its last user is done with it. */
export class DirectoryHandle {
  readonly fd: number;
  #users = 1;

  constructor(fd: number) {
    this.fd = fd;
  }

  use(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) posix.close(this.fd);
  }
}
