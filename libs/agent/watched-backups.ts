import { gearSeedOf } from '../blocks/keys.ts';
import { UnstoredReader } from '../collect/unstored-reader.ts';
import { WarmWorkers } from '../collect/warm-workers.ts';
import type { OpenReply } from '../contracts/api/control.ts';
import { TmError } from '../model/errors.ts';
import { ROOT } from '../model/tree-path.ts';
import type { Dirty } from '../monitor/dirty.ts';
import { type OpenDirtyScan, openDirtyScan } from '../monitor/dirty-scan.ts';
import type { Committed, SourceBackups, Taking, Wish } from '../monitor/port.ts';
import { KnownState } from '../scan/index.ts';
import type { GapReason } from '../watch/ledger-format.ts';
import { backupOfView } from './backup-view.ts';
import { baseVersions } from './base-versions.ts';
import { LookedScan } from './looked-scan.ts';
import { CLOCK_GRANULARITY_NS } from './open-scan.ts';
import { hashedPages, type RemoteBackupRequest } from './remote-backup.ts';
import type { AgentSession } from './session.ts';

/** What holds for every backup of a watched folder. */
export type WatchRules = Pick<
  RemoteBackupRequest,
  'root' | 'excludes' | 'oneFileSystem' | 'threads' | 'compression' | 'skip'
>;

export interface WatchedBackupsOptions {
  readonly session: AgentSession;
  readonly rules: WatchRules;
  readonly stateFile: (sourceUid: string) => string;
  /** Called with each backup that was opened, before anything is read. */
  readonly onOpened: (opened: OpenReply) => void;
}

/** What the source's newest backup was when this process made it. */
interface Head {
  readonly opened: OpenReply;
  readonly known: KnownState;
  /** What the root looked like then, where that is known. */
  readonly rootHint: string | undefined;
  /** What was left out. */
  readonly excludes: readonly string[];
}

const WHOLE: Dirty = { entries: [], subtrees: [{ path: ROOT, reason: 'lost' }], unsettled: [] };

/** The backups of one watched folder, made against services. */
export class RemoteWatchedBackups implements SourceBackups {
  readonly #options: WatchedBackupsOptions;
  readonly #warm = new WarmWorkers(Date.now);
  #head: Head | undefined;
  /** What the source's policy leaves out, as last told. */
  #excludes: readonly string[] = [];

  constructor(options: WatchedBackupsOptions) {
    this.#options = options;
  }

  /** What this process knows of its last backup tells whether there is anything to back up. */
  async reconcile(taking: Taking): Promise<Committed | undefined> {
    const head = this.#head;
    if (head && this.#isByPolicy(head) && !(await this.#differs(head, WHOLE, taking))) return undefined;
    return this.#walk(taking);
  }

  async micro(dirty: Dirty, taking: Taking): Promise<Committed | undefined> {
    const head = this.#head;
    if (!head) throw new TmError('TM1012', 'there is no backup of this process to go on from');
    this.#checkPolicy(head);
    const scan = this.#look(head, dirty);
    let isOurs = true;
    try {
      const looked = this.#looked(head, scan, taking.signal);
      if (!(await looked.differs())) {
        looked.problems.forEach(taking.onProblem);
        scan.state.commit();
        return undefined;
      }
      const request = {
        ...taking,
        kind: 'differential' as const,
        threads: 1, // which stays warm
        warm: this.#warm,
        scan: (opened: OpenReply) => {
          checkBase(opened, head.known);
          this.#checkPolicy(head); // which the reply may have told otherwise
          isOurs = false;
          return { ...scan, scan: looked };
        },
      };
      return await this.#make(request, () => scan.scan.rootHint());
    } catch (error) {
      this.#forget(); // what the file says holds
      throw error;
    } finally {
      if (isOurs) scan.close();
    }
  }

  wished({ excludes, oneFileSystem, ...wish }: Wish, gaps: readonly GapReason[]): Promise<Committed> {
    const rules = { ...(excludes && { excludes }), ...(oneFileSystem !== undefined && { oneFileSystem }) };
    return this.#walk({ ...wish, ...rules, gaps });
  }

  /** From now on. Gives whether that is something else than before, which needs a look at the whole tree. */
  leaveOut(excludes: readonly string[] | undefined): boolean {
    if (!excludes || sameTexts(excludes, this.#excludes)) return false;
    this.#excludes = excludes;
    return true;
  }

  async close(): Promise<void> {
    this.#forget();
    await this.#warm.close();
  }

  async #differs(head: Head, dirty: Dirty, { signal, onProblem }: Taking): Promise<boolean> {
    const scan = this.#look(head, dirty);
    let isLost = false;
    try {
      const looked = this.#looked(head, scan, signal);
      if (await looked.differs()) {
        scan.state.abandon();
        return true;
      }
      looked.problems.forEach(onProblem);
      scan.state.commit(); // what could not be looked at is looked at again once it can
      return false;
    } catch (error) {
      isLost = true; // the next one walks
      scan.state.abandon();
      if (error instanceof TmError && error.code === 'TM1012') return true;
      throw error;
    } finally {
      scan.close();
      if (isLost) this.#forget();
    }
  }

  #look({ opened, known, rootHint, excludes }: Head, dirty: Dirty): OpenDirtyScan {
    const { session, rules } = this.#options;
    const { backup, source } = opened;
    const key = Buffer.from(source.key, 'base64');
    const request = {
      ...rules,
      excludes,
      rootHint,
      acceptRoot: false,
      stateFile: this.#stateFile(opened),
    };
    return openDirtyScan(known, dirty, request, {
      records: (within) => hashedPages(session.control, backup.id, key, within),
    });
  }

  /** Looks before a backup is opened whether what was touched differs. */
  #looked({ opened }: Head, scan: OpenDirtyScan, signal: AbortSignal): LookedScan {
    const { domain, control } = this.#options.session;
    const { backup, source } = opened;
    let reader: UnstoredReader | undefined;
    return new LookedScan(scan, {
      lookup: (keys) => baseVersions(control, backup.id, keys, signal),
      reader: () =>
        (reader ??= new UnstoredReader({
          domainId: domain.id,
          dedupKey: domain.dedupKey,
          digestKey: domain.digestKey,
          gearSeed: gearSeedOf(domain),
          sourceKey: Buffer.from(source.key, 'base64'),
          rootDev: scan.rootDev,
          startedAtNs: scan.startedAtNs,
          granularityNs: CLOCK_GRANULARITY_NS,
        })),
      damaged: undefined,
      signal,
    });
  }

  #walk(taking: Taking & Partial<RemoteBackupRequest>): Promise<Committed> {
    this.#forget(); // the state file is about to be another one
    return this.#make(taking);
  }

  async #make(taking: Taking & Partial<RemoteBackupRequest>, rootHint?: () => string): Promise<Committed> {
    const { session, rules, onOpened } = this.#options;
    const standard = { kind: undefined, tags: {}, acceptRoot: false, onProgress: () => {} };
    let opened: OpenReply | undefined;
    let excludes: readonly string[] = [];
    const view = await session.backup({
      ...standard,
      ...rules,
      ...taking,
      onOpened: (reply) => {
        opened = reply;
        this.leaveOut(reply.excludes);
        excludes = taking.excludes ?? this.#policyExcludes;
        onOpened(reply);
      },
      excludesOf: () => excludes,
    });
    const backup = backupOfView(view, opened!.source.number);
    await this.#goOnFrom({ ...opened!, backup: view }, rootHint?.(), excludes);
    return { backup, baseline: baselineIn(view.label) };
  }

  /** Without a state of it the next look is at everything. */
  async #goOnFrom(
    opened: OpenReply,
    rootHint: string | undefined,
    excludes: readonly string[],
  ): Promise<void> {
    const { seq, epoch, stateDigest } = opened.backup;
    const identity = {
      sourceUid: opened.source.uid,
      seq,
      epoch,
      stateDigest: Buffer.from(stateDigest ?? '', 'base64'),
    };
    const known = this.#head?.known ?? KnownState.open(this.#stateFile(opened), identity);
    this.#head = known && { opened, known, rootHint, excludes };
    if (known?.isHeavy) await known.compact().catch(() => this.#forget()); // a later one does it
  }

  get #policyExcludes(): readonly string[] {
    return [...this.#excludes, ...this.#options.rules.excludes];
  }

  #isByPolicy({ excludes }: Head): boolean {
    return sameTexts(excludes, this.#policyExcludes);
  }

  /** What was left out under another policy is nowhere in its events. */
  #checkPolicy(head: Head): void {
    if (!this.#isByPolicy(head)) throw new TmError('TM1012', 'something else is left out by now');
  }

  #stateFile({ source }: OpenReply): string {
    return this.#options.stateFile(source.uid);
  }

  #forget(): void {
    this.#head?.known.close();
    this.#head = undefined;
  }
}

const sameTexts = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, i) => text === b[i]);

/** Somebody else may have made a backup meanwhile. */
function checkBase({ base }: OpenReply, { identity }: KnownState): void {
  if (base?.backup.seq !== identity.seq) throw new TmError('TM1012', 'there is a newer backup by now');
}

/** A differential's label begins with its baseline's. */
function baselineIn(label: string): string | null {
  const end = label.indexOf('_');
  return end < 0 ? null : label.slice(0, end);
}
