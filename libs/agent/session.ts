import { randomUUID } from 'node:crypto';
import type { DomainKeys } from '../blocks/keys.ts';
import { DataKey } from '../commit/data-key.ts';
import { agentRoutes, type OpenReply } from '../contracts/api/control.ts';
import type { BackupView } from '../contracts/api/control-views.ts';
import { HttpClient } from '../http/client.ts';
import { RemoteIntake } from '../intake/remote-intake.ts';
import { Writers } from '../intake/writers.ts';
import { limitWorld, Pace } from '../store/pace.ts';
import type { Transport } from '../transport/port.ts';
import { type Credentials, domainOf } from './credentials.ts';
import { eventPoster } from './event-poster.ts';
import { type Outlets, type RemoteBackupRequest, remoteBackup } from './remote-backup.ts';

/** Makes the way of one backup's change events: to Kafka, or to the writers, who pass them on. */
export type MakePublisher = (
  opened: OpenReply,
  writers: Writers,
) => Promise<Pick<Transport, 'publish'> & { close(): Promise<void> }>;

const SIGN_OFF_MS = 3000;

export interface SessionOptions {
  readonly credentials: Credentials;
  readonly stateFile: (sourceUid: string) => string;
  /** Bytes a second that its backups send; undefined: as fast as it goes. */
  readonly uploadLimit?: number | undefined;
  /** Default: over the writers. */
  readonly publisher?: MakePublisher;
}

const overWriters: MakePublisher = async ({ backup, macKey }, writers) => ({
  ...eventPoster(writers, backup.id, Buffer.from(macKey, 'base64')),
  close: async () => {},
});

/**
 * An agent's time with the services, from sign-on to sign-off: one process at a time has an agent's identity (TM1803).
 * Its data key lives as long.
 */
export class AgentSession {
  readonly control: HttpClient;
  readonly #options: SessionOptions;
  readonly #instance: string;
  readonly #dataKey: DataKey;

  private constructor(options: SessionOptions) {
    const { server, token } = options.credentials;
    this.#options = options;
    this.#instance = randomUUID();
    this.control = new HttpClient({ server, token, instance: this.#instance });
    this.#dataKey = new DataKey(domainOf(options.credentials), async () => {}); // the intake puts it
  }

  static async signOn(options: SessionOptions, signal?: AbortSignal): Promise<AgentSession> {
    const session = new AgentSession(options);
    try {
      await session.control.call(agentRoutes.signOn, { body: {} }, { signal });
      return session;
    } catch (error) {
      session.control.close();
      throw error;
    }
  }

  backup(request: RemoteBackupRequest): Promise<BackupView> {
    const { stateFile } = this.#options;
    const deps = {
      control: this.control,
      domain: this.domain,
      keyRange: () => this.#dataKey.range(),
      stateFile,
      outlets: (opened: OpenReply) => this.#outlets(opened, request.signal),
    };
    return remoteBackup(deps, request);
  }

  async #outlets(opened: OpenReply, signal: AbortSignal): Promise<Outlets> {
    const { token } = this.#options.credentials;
    const clients = opened.writers.map(
      (server) => new HttpClient({ server, token, instance: this.#instance }),
    );
    const writers = new Writers({ clients, signal });
    const publisher = await (this.#options.publisher ?? overWriters)(opened, writers);
    return {
      intake: new RemoteIntake({
        writers,
        backupId: opened.backup.id,
        wrappedKey: (id) => this.#dataKey.wrapped(id),
        pace: new Pace(this.#options.uploadLimit, limitWorld(signal)),
      }),
      transport: publisher,
      async close() {
        await publisher.close();
        for (const client of clients) client.close();
      },
    };
  }

  get domain(): DomainKeys {
    return domainOf(this.#options.credentials);
  }

  get agentId(): string {
    return this.#options.credentials.agent.id;
  }

  /** The control plane answers, and this process is still the one that is signed on. */
  async check(): Promise<void> {
    await this.control.call(agentRoutes.signOn, { body: {} }, { deadline: 0 });
  }

  async close(): Promise<void> {
    const signal = AbortSignal.timeout(SIGN_OFF_MS); // also where the server hangs
    await this.control.call(agentRoutes.signOff, { body: {} }, { signal }).catch(() => {}); // else it lapses
    this.control.close();
  }
}
