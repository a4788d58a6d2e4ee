import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import type { WorkBatch } from '../scan/index.ts';
import type { Task } from './protocol.ts';

/**
 * The items of a task in one buffer, since cloning an object for each costs a thread more than reading a small file:
 * groups of i32 descriptor, u16 length and bytes of the directory's path, u16 length of a stat record, u32 items;
 * item: u8 length and bytes of the name, the raw statx record that the walk saw.
 */
export function packTask(batch: WorkBatch): Task {
  const out = new ByteWriter(batch.count * 192 + 256);
  for (const { dirFd, dir, items } of batch.groups) {
    const statBytes = items[0]?.stat.length ?? 0;
    out.u32(dirFd);
    out.u16(dir.length);
    out.bytes(dir);
    out.u16(statBytes);
    out.u32(items.length);
    for (const { name, stat } of items) {
      out.u8(name.length);
      out.bytes(name);
      out.bytes(stat);
    }
  }
  return { id: batch.id, count: batch.count, items: out.finish() };
}

/** The buffers are views of the task's. */
export interface TaskItem {
  readonly dirFd: number;
  readonly dir: Buffer;
  readonly name: Buffer;
  readonly stat: Buffer;
}

export function* unpackTask({ items }: Task): Generator<TaskItem> {
  const input = new ByteReader(Buffer.from(items.buffer, items.byteOffset, items.byteLength));
  while (input.remaining > 0) {
    const dirFd = input.u32();
    const dir = input.bytes(input.u16());
    const statBytes = input.u16();
    for (let n = input.u32(); n > 0; n--) {
      const name = input.bytes(input.u8());
      yield { dirFd, dir, name, stat: input.bytes(statBytes) };
    }
  }
}
