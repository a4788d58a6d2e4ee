import { realpath, stat } from 'node:fs/promises';
import { fromText, toText } from '../model/byte-text.ts';
import { TmError } from '../model/errors.ts';
import { bytesToDisplay } from '../model/tree-path.ts';

/**
 * The canonical path of a folder to back up, with one clear error for everything that can be wrong with it. `own`:
 * home and the folder of the store, inside of which nothing is backed up.
 */
export async function checkedRoot(given: Buffer | string, own: readonly string[]): Promise<Buffer> {
  const dir = typeof given === 'string' ? fromText(given) : given;
  const [shown, path] = [bytesToDisplay(dir), toText(dir)];
  let root: Buffer;
  try {
    root = await realpath(dir, { encoding: 'buffer' });
    if (!(await stat(root)).isDirectory()) throw new TmError('TM1103', shown, { path });
  } catch (error) {
    if (error instanceof TmError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new TmError(code === 'ENOENT' ? 'TM1101' : 'TM1102', `${shown} (${code})`, { path, cause: error });
  }
  for (const one of own) {
    const folder = await realpath(Buffer.from(one), { encoding: 'buffer' }).catch(() => undefined);
    if (folder && isBelow(root, folder)) {
      throw new TmError('TM1104', `${shown} is ${bytesToDisplay(folder)} or lies below it`, { path });
    }
  }
  return root;
}

function isBelow(path: Buffer, folder: Buffer): boolean {
  const [inner, outer] = [path, folder].map((one) => Buffer.concat([one, Buffer.from('/')]));
  return inner!.subarray(0, outer!.length).equals(outer!);
}
