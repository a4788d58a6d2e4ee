/** How to reach Kafka and who we are there. */
export interface KafkaConnection {
  /** `host:port` each; some of the cluster are enough. */
  readonly brokers: readonly string[];
  readonly clientId: string;
  /** Without it, nothing is encrypted on the way. PEM texts; without `ca` the system's certificates are trusted. */
  readonly tls?: {
    readonly ca?: string | undefined;
    /** Of a client that is known by its certificate. */
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
  };
  readonly sasl?: {
    readonly mechanism: 'scram-sha-256' | 'scram-sha-512' | 'plain';
    readonly username: string;
    readonly password: string;
  };
  /** Milliseconds to connect; the default is 5,000. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds after which a message that Kafka does not take is given up (TM1515); the default is 60,000. */
  readonly giveUpMs?: number;
  /** What the client has to say of its troubles. */
  readonly log?: (
    level: 'warn' | 'error',
    message: string,
    details: Readonly<Record<string, unknown>>,
  ) => void;
}
