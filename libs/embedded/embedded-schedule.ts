import { checkedRoot } from '../agent/checked-root.ts';
import { findSource } from '../catalogue/find-backup.ts';
import { decidePolicy } from '../cell/decide-policy.ts';
import { ensureSource } from '../cell/ensure-source.ts';
import { TmError } from '../model/errors.ts';
import type { SourceRow } from '../registry/port.ts';
import type { JobInfo } from '../schedule/job.ts';
import { PgBossQueue } from '../schedule/pg-boss-queue.ts';
import { type PolicyRequest, parsePolicyRequest } from '../schedule/policy.ts';
import type { ScheduleApi, ScheduledSource, SourcePolicy } from '../schedule/schedule-api.ts';
import { scheduledSources, settling, sourcePolicies, sourcePolicy } from '../schedule/scheduled-sources.ts';
import type { Engine } from './engine.ts';
import { ownPaths } from './own-folders.ts';
import { RegistryCatalogue } from './registry-catalogue.ts';

/** On the registry of this process; `tidemark serve` sees what is changed at its next look. */
export class EmbeddedSchedule implements ScheduleApi {
  readonly #engine: Engine;
  #queue: PgBossQueue | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async setPolicy(dir: string, request: PolicyRequest): Promise<SourcePolicy> {
    const asked = parsePolicyRequest(request);
    const source = await this.#sourceOf(dir);
    const { registry } = this.#engine;
    return sourcePolicy(source, await decidePolicy(this.#engine, source, settling(registry, source, asked)));
  }

  #source(dir: string): Promise<SourceRow> {
    const { registry, home } = this.#engine;
    const catalogue = new RegistryCatalogue(registry);
    return findSource({ catalogue, agent: home.agent, agentUid: undefined }, dir);
  }

  /** A folder of this host that was never backed up becomes a source. */
  async #sourceOf(dir: string): Promise<SourceRow> {
    try {
      return await this.#source(dir);
    } catch (error) {
      if (!(error instanceof TmError && error.code === 'TM1703')) throw error;
      const { domain, home } = this.#engine;
      const root = await checkedRoot(dir, ownPaths(this.#engine));
      return ensureSource(this.#engine, domain, { name: home.agent, uid: undefined }, root);
    }
  }

  async policies(dir: string | undefined): Promise<readonly SourcePolicy[]> {
    const { registry } = this.#engine;
    if (dir === undefined) return sourcePolicies(registry, await registry.policies.list());
    const row = await registry.policies.get((await this.#source(dir)).id);
    return sourcePolicies(registry, row ? [row] : []);
  }

  async removePolicy(dir: string): Promise<boolean> {
    const source = await this.#source(dir);
    const decided = await decidePolicy(this.#engine, source, async (before) =>
      before === undefined ? undefined : null,
    );
    return decided === null;
  }

  async schedule(dir: string | undefined): Promise<readonly ScheduledSource[]> {
    const policies = await this.policies(dir);
    return scheduledSources(this.#engine.registry, await this.#jobs(), policies);
  }

  async jobs({ dir, limit }: { dir: string | undefined; limit: number }): Promise<readonly JobInfo[]> {
    const only = dir === undefined ? undefined : await this.#source(dir);
    return (await this.#jobs()).list({ limit, ...(only ? { source: only.uid } : {}) });
  }

  async #jobs(): Promise<PgBossQueue> {
    this.#queue ??= await PgBossQueue.open({ connection: this.#engine.connection });
    return this.#queue;
  }

  async close(): Promise<void> {
    await this.#queue?.close();
  }
}
