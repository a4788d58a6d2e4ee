/** Limits of an HTTP server; times in milliseconds. */
export interface ServerLimits {
  /** Until the headers of a request are in. */
  readonly headers: number;
  /** Until all of a request is in, however busily it trickles. */
  readonly request: number;
  /** Without a byte while a body is read, or while a reply of bytes is taken. */
  readonly idle: number;
  /** Without a request on an open connection. */
  readonly keepAlive: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  headers: 10_000,
  request: 600_000,
  idle: 30_000,
  keepAlive: 65_000,
};

const MAX_HEADER_BYTES = 32 * 1024;

/** For `fastify(…)` and Nest's FastifyAdapter: limits that only the server itself can keep. */
export const serverOptions = (limits: ServerLimits = DEFAULT_LIMITS) => ({
  http: {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: limits.headers,
    connectionsCheckingInterval: 1000,
  },
  requestTimeout: limits.request,
  keepAliveTimeout: limits.keepAlive,
  forceCloseConnections: 'idle' as const,
  routerOptions: { maxParamLength: 1024 },
});
