import { ByteReader } from '../model/byte-reader.ts';
import { ByteWriter } from '../model/byte-writer.ts';
import { HINTS_BYTES } from '../model/entry.ts';
import type { WorkBatch, WorkItem } from '../scan/index.ts';
import type { KnownEntry } from './known-entries.ts';
import type { Task } from './protocol.ts';

/**
 * The items of a task in one buffer, since cloning an object for each costs a thread more than reading a small file:
 * groups of i32 descriptor, u16 length and bytes of the directory's path, u16 length of a stat record, u32 items;
 * item: u8 length and bytes of the name, the raw statx record that the walk saw, u32 length and bytes of the state and
 * the hints (32 bytes) where the entry is known and need not be read; else u32 0.
 */
export function packTask(batch: WorkBatch, known?: ReadonlyMap<WorkItem, KnownEntry>): Task {
  const out = new ByteWriter(batch.count * 192 + 256);
  for (const { dirFd, dir, items } of batch.groups) {
    const statBytes = items[0]?.stat.length ?? 0;
    out.u32(dirFd);
    out.u16(dir.length);
    out.bytes(dir);
    out.u16(statBytes);
    out.u32(items.length);
    for (const item of items) {
      out.u8(item.name.length);
      out.bytes(item.name);
      out.bytes(item.stat);
      packKnown(out, known?.get(item));
    }
  }
  return { id: batch.id, count: batch.count, items: out.take() };
}

function packKnown(out: ByteWriter, known: KnownEntry | undefined): void {
  out.u32(known?.state.length ?? 0);
  if (!known) return;
  out.bytes(known.state);
  out.bytes(known.hints);
}

/** The buffers are views of the task's. */
export interface TaskItem {
  readonly dirFd: number;
  readonly dir: Buffer;
  readonly name: Buffer;
  readonly stat: Buffer;
  readonly known: KnownEntry | undefined;
}

export function* unpackTask({ items }: Task): Generator<TaskItem> {
  const input = new ByteReader(Buffer.from(items.buffer, items.byteOffset, items.byteLength));
  while (input.remaining > 0) {
    const dirFd = input.u32();
    const dir = input.bytes(input.u16());
    const statBytes = input.u16();
    for (let n = input.u32(); n > 0; n--) {
      const name = input.bytes(input.u8());
      const stat = input.bytes(statBytes);
      yield { dirFd, dir, name, stat, known: unpackKnown(input) };
    }
  }
}

function unpackKnown(input: ByteReader): KnownEntry | undefined {
  const length = input.u32();
  return length === 0 ? undefined : { state: input.bytes(length), hints: input.bytes(HINTS_BYTES) };
}
