import { join, resolve } from 'node:path';

/**
 * What the embedded Postgres keeps in a home. The four locks are flocks, so the kernel gives them back however
 * their holder ends:
 * - lease: shared by every command that uses the server; exclusive for the supervisor while it stops the server
 * - startLock: exclusive for whoever changes what runs or is installed
 * - serverLock: exclusive for the server; inherited by each of its processes, so it is free only when all are gone
 * - supervisorLock: exclusive for the supervisor; the file holds its pid
 * Order of taking: lease, startLock, then one of the other two.
 */
export interface Layout {
  readonly home: string;
  readonly registry: string;
  readonly lease: string;
  readonly startLock: string;
  readonly serverLock: string;
  readonly supervisorLock: string;
  /** The password, mode 0600, of whoever runs the commands. */
  readonly secret: string;
  readonly log: string;
  /** Names the place (see place.ts) when it isn't `registry` itself. */
  readonly placePointer: string;
  /** Names the socket's directory when a path within the place is too long for a socket. */
  readonly socketPointer: string;
}

export function layoutOf(home: string): Layout {
  const root = resolve(home);
  const registry = join(root, 'registry');
  return {
    home: root,
    registry,
    lease: join(registry, 'lease'),
    startLock: join(registry, 'start.lock'),
    serverLock: join(registry, 'server.lock'),
    supervisorLock: join(registry, 'supervisor.lock'),
    secret: join(registry, 'secret'),
    log: join(registry, 'postgres.log'),
    placePointer: join(registry, 'place'),
    socketPointer: join(registry, 'socket-dir'),
  };
}
