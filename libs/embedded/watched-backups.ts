import { openScan } from '../agent/open-scan.ts';
import { WarmWorkers } from '../collect/warm-workers.ts';
import type { BackupInfo } from '../model/backup.ts';
import type { Compression } from '../model/compression.ts';
import { TmError } from '../model/errors.ts';
import type { Dirty } from '../monitor/dirty.ts';
import { openDirtyScan } from '../monitor/dirty-scan.ts';
import type { Committed, SourceBackups, Taking, Wish } from '../monitor/port.ts';
import { KnownState, type StateIdentity, sameIdentity } from '../scan/index.ts';
import type { GapReason } from '../watch/ledger-format.ts';
import { backup } from './backup.ts';
import { backupIfDiffers, headOf } from './backup-if-differs.ts';
import type { Engine } from './engine.ts';
import type { EngineKeeper } from './engine-keeper.ts';
import { movedStates } from './moved-states.ts';
import { ownFolders } from './own-folders.ts';
import { baseOf } from './scan-base.ts';

/** What holds for every backup of a watched folder. */
export interface WatchRules {
  readonly excludes: readonly string[];
  readonly oneFileSystem: boolean;
  readonly threads: number;
  readonly compression: Compression;
}

/** The backups of one watched folder, made by this process. */
export class WatchedBackups implements SourceBackups {
  readonly #engines: Pick<EngineKeeper, 'use'>;
  readonly #root: Buffer;
  readonly #rules: WatchRules;
  /** What the last backup holds; undefined until a micro-differential needs it. */
  #known: KnownState | undefined;
  readonly #warm = new WarmWorkers(() => performance.now());
  /** Of the thread that is kept warm. */
  #engine: Engine | undefined;
  /** Of the last differential; a backup keeps its label. */
  #baseline: { readonly seq: number; readonly label: string | null } | undefined;
  /** Until the first look at the whole folder is over. */
  #acceptRoot: boolean;

  constructor(engines: Pick<EngineKeeper, 'use'>, root: Buffer, rules: WatchRules, acceptRoot: boolean) {
    this.#engines = engines;
    this.#root = root;
    this.#rules = rules;
    this.#acceptRoot = acceptRoot;
  }

  async reconcile(taking: Taking): Promise<Committed | undefined> {
    const made = await this.#engines.use((engine) => this.#reconcile(engine, taking));
    this.#acceptRoot = false;
    return made;
  }

  async micro(dirty: Dirty, taking: Taking): Promise<Committed | undefined> {
    try {
      return await this.#engines.use((engine) => this.#micro(engine, dirty, taking));
    } catch (error) {
      this.#forget(); // what the file says holds
      throw error;
    }
  }

  wished({ excludes, oneFileSystem, ...wish }: Wish, gaps: readonly GapReason[]): Promise<Committed> {
    const rules = { ...(excludes && { excludes }), ...(oneFileSystem !== undefined && { oneFileSystem }) };
    const request = { ...this.#rules, ...rules, ...wish, gaps, dir: this.#root };
    this.#forget();
    return this.#engines.use(async (engine) => this.#committed(engine, await backup(engine, request)));
  }

  async close(): Promise<void> {
    this.#forget();
    await this.#warm.close();
  }

  async #reconcile(engine: Engine, taking: Taking): Promise<Committed | undefined> {
    const head = await headOf(engine, this.#root);
    const request = { ...this.#request(taking), acceptRoot: this.#acceptRoot };
    if (!head) {
      const first = { ...request, kind: undefined, tags: {}, dir: this.#root };
      return this.#committed(engine, await backup(engine, first));
    }
    this.#forget(); // the state file is about to be another one
    const base = await baseOf(engine.registry, head);
    const scan = await openScan(base, {
      ...request,
      kind: 'differential',
      rootHint: head.source.rootHint,
      stateFile: engine.home.stateFile(head.source.uid),
      skip: ownFolders(engine),
    });
    const made = await backupIfDiffers(engine, head, { ...request, damaged: base.damaged }, scan, () => {
      scan.state.finish(base.identity);
      scan.commit();
    });
    return made && this.#committed(engine, made);
  }

  async #micro(engine: Engine, dirty: Dirty, taking: Taking): Promise<Committed | undefined> {
    const { registry, home } = engine;
    const head = await headOf(engine, this.#root);
    if (!head) throw new TmError('TM1012', 'there is no backup to go on from');
    const { source, backup } = head;
    const base = await baseOf(registry, head);
    const stateFile = home.stateFile(source.uid);
    const known = this.#knownAsOf(stateFile, base.identity);
    const request = this.#request(taking);
    const scan = openDirtyScan(
      known,
      dirty,
      {
        ...request,
        acceptRoot: false,
        rootHint: source.rootHint,
        damaged: base.damaged,
        skip: ownFolders(engine),
      },
      movedStates(registry, source.id, backup.seq),
    );
    const warm = await this.#warmFor(engine);
    const made = await backupIfDiffers(engine, head, { ...request, damaged: base.damaged, warm }, scan, () =>
      scan.commit(),
    );
    if (known.isHeavy) await known.compact().catch(() => this.#forget()); // a later one does it
    return made && this.#committed(engine, made);
  }

  #request(taking: Taking) {
    return { ...this.#rules, ...taking, root: this.#root, onProgress: () => {} };
  }

  /** Throws TM1012 where it is lost, or another process has made a backup without a state that leads to it. */
  #knownAsOf(stateFile: string, identity: StateIdentity): KnownState {
    if (this.#known && sameIdentity(this.#known.identity, identity)) return this.#known;
    this.#forget();
    this.#known = KnownState.open(stateFile, identity);
    if (!this.#known) throw new TmError('TM1012', 'they are of another backup');
    return this.#known;
  }

  /** Its thread seals with keys that this engine has made, and no other one knows. */
  async #warmFor(engine: Engine): Promise<WarmWorkers> {
    if (this.#engine !== engine) await this.#warm.close();
    this.#engine = engine;
    return this.#warm;
  }

  async #committed({ registry }: Engine, backup: BackupInfo): Promise<Committed> {
    const { kind, sourceId, baselineSeq: seq } = backup;
    if (kind === 'full') return { backup, baseline: null };
    if (this.#baseline?.seq !== seq)
      this.#baseline = { seq, label: (await registry.backups.at(sourceId, seq))?.label ?? null };
    return { backup, baseline: this.#baseline.label };
  }

  #forget(): void {
    this.#known?.close();
    this.#known = undefined;
  }
}
