import { openFrame, parseFrameHeader } from '../blocks/frame.ts';
import { packName } from '../blocks/pack.ts';
import { TmError } from '../model/errors.ts';
import { readRecords } from '../model/records.ts';
import type { Registry, RunPart, RunRef } from '../registry/port.ts';
import type { ReadingKeys } from '../restore/block-supplier.ts';
import { readJournalObject } from '../store/journal.ts';
import { journalName } from '../store/journal-name.ts';
import type { Store } from '../store/port.ts';
import { backupsOf } from './backups-of.ts';
import { finding, type OnFinding } from './finding.ts';

/**
 * The runs that backups of a domain name, from which a registry is rebuilt: their frames and journal sections are there; with keys
 * they are opened and parsed and hold as many records as they say. Runs that backups share are checked once.
 */
export class RunCheck {
  readonly #registry: Registry;
  readonly #store: Store;
  readonly #domain: string;
  readonly #keys: ReadingKeys | undefined;
  readonly #onFinding: OnFinding;
  readonly #signal: AbortSignal | undefined;
  /** What was found of a run, by its first part: as many as there are runs, at most a few to a backup. */
  readonly #checked = new Map<string, boolean>();

  constructor(
    { registry, store, domain }: { registry: Registry; store: Store; domain: string },
    keys: ReadingKeys | undefined,
    onFinding: OnFinding,
    signal: AbortSignal | undefined,
  ) {
    this.#registry = registry;
    this.#store = store;
    this.#domain = domain;
    this.#keys = keys;
    this.#onFinding = onFinding;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    for (const backup of await backupsOf(this.#registry, this.#domain)) {
      for (const run of await this.#registry.backups.runsOf(backup.sourceId, backup.seq)) {
        if (this.#signal?.aborted) throw new TmError('TM1508');
        const name = JSON.stringify(run.parts[0] ?? run);
        const known = this.#checked.get(name);
        if (known === true) continue;
        const object = run.parts[0] && objectOf(run.parts[0]);
        const at = { backup, ...(object ? { object } : {}) };
        this.#checked.set(name, await finding(this.#onFinding, at, () => this.#run(run)));
      }
    }
  }

  async #run(run: RunRef): Promise<void> {
    let records = 0;
    for (const part of run.parts) {
      const bytes = await this.#read(part);
      if (!this.#keys) continue;
      const key = await this.#keys.ring.get(parseFrameHeader(bytes).keyId);
      for (const _ of readRecords(openFrame(bytes, this.#keys.domainId, key))) records++;
    }
    if (this.#keys && records !== run.records)
      throw new TmError('TM1605', `a run of ${records} records instead of ${run.records}`);
  }

  async #read(part: RunPart): Promise<Buffer> {
    if (part.in === 'journal') {
      const { sections, name } = await readJournalObject(this.#store, part.writer, part.number);
      const section = sections[part.section];
      if (!section) throw new TmError('TM1212', `${name} has no section ${part.section}`);
      return section;
    }
    const object = objectOf(part);
    const bytes = await this.#store.read(object, { offset: part.frameOffset, length: part.frameLength });
    parseFrameHeader(bytes);
    return bytes;
  }
}

function objectOf(part: RunPart): string {
  return part.in === 'pack' ? packName(Buffer.from(part.pack, 'hex')) : journalName(part.writer, part.number);
}
