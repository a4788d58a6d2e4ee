import { crc32 } from 'node:zlib';
import { z } from 'zod';

/** Why modification events may have been lost. */
const GAP_REASONS = [
  'agent-down',
  'overflow',
  'watch-limit',
  'mount-changed',
  'root-replaced',
  'root-deleted',
  'unmounted',
  'watch-failed',
  'ledger-damaged',
] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** Milliseconds since 1970, by the host's clock. */
const at = z.int();

const ledgerRecord = z.discriminatedUnion('type', [
  /** Watching begins. */
  z.object({ type: z.literal('started'), at }),
  /** It still goes on: what a later start takes as the end, if nothing else says so. */
  z.object({ type: z.literal('alive'), at }),
  z.object({ type: z.literal('stopped'), at }),
  /** `gap` is its number within the ledger. */
  z.object({ type: z.literal('opened'), at, gap: z.int(), reason: z.enum(GAP_REASONS) }),
  /** A reconcile that began at `from` has taken in what was lost; `by`: label of the backup that it made, if it made one. */
  z.object({ type: z.literal('closed'), at, gap: z.int(), from: at, by: z.string().optional() }),
  /** What was closed or had ended by `at` is no longer told of; `gap`: the last number that was given by then. */
  z.object({ type: z.literal('forgotten'), at, gap: z.int() }),
]);
export type LedgerRecord = z.infer<typeof ledgerRecord>;

/** A line for each record: CRC-32 of the rest in eight hex digits, a space, JSON, a newline. */
export function encodeRecord(record: LedgerRecord): string {
  const json = JSON.stringify(record);
  return `${checksum(json)} ${json}\n`;
}

const checksum = (json: string): string => crc32(json).toString(16).padStart(8, '0');

/**
 * The records of a file. `tornAt`: where a last line begins that was never finished. `isDamaged`: lines within were not
 * what was once written, or say what this program doesn't know: of a gap, perhaps.
 */
export function decodeRecords(bytes: Buffer): {
  records: LedgerRecord[];
  tornAt?: number;
  isDamaged: boolean;
} {
  const records: LedgerRecord[] = [];
  let isDamaged = false;
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
    const line = bytes.toString('utf8', start, end);
    const json = line.slice(9);
    start = end + 1;
    const record = line.slice(0, 9) === `${checksum(json)} ` ? parsed(json) : undefined;
    if (record) records.push(record);
    else isDamaged = true;
  }
  return start < bytes.length ? { records, tornAt: start, isDamaged } : { records, isDamaged };
}

const parsed = (json: string): LedgerRecord | undefined => ledgerRecord.safeParse(JSON.parse(json)).data;
