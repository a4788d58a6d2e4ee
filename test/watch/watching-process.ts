import { closeSync, openSync } from 'node:fs';
import { InotifySource } from '../../libs/watch/inotify/inotify-source.ts';

/** `node watching-process.ts ROOT exit|limit`: exits while it watches, or says which states it meets. */
const [root, mode] = process.argv.slice(2) as [string, string];
const rootFd = openSync(root, 'r');
const source = await InotifySource.start({ rootFd, rootPath: Buffer.from(root) });
closeSync(rootFd);
if (mode === 'exit') process.exit(7);
const batch = await source.next();
process.stdout.write(`${batch?.states}`);
await source.close();
