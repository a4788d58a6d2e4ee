import { close } from '../posix/index.ts';

/** A directory's descriptor with several users: the walk, and each batch that names it. The last one closes it. */
export class OpenDirectory {
  readonly fd: number;
  #users = 1;

  constructor(fd: number) {
    this.fd = fd;
  }

  share(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) close(this.fd);
  }
}
