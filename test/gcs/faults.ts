export type Operation = 'upload' | 'read' | 'stat' | 'list' | 'delete';

/** What happens to a request. */
export type GcsFault =
  /** Refused with a status, without an effect. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly retryAfter?: number;
      readonly message?: string;
    }
  /** Nothing comes any more: before the headers (also: nothing of the request is read), or after half of the body. */
  | { readonly kind: 'stall'; readonly at: 'request' | 'headers' | 'body' }
  /** The connection is cut: before the headers without an effect, or after half of the body. */
  | { readonly kind: 'cut'; readonly at: 'headers' | 'body' }
  /** It has its effect, and the connection is cut before the reply. */
  | { readonly kind: 'lose-reply' }
  /** Content with one bit changed. */
  | { readonly kind: 'flip-bit' }
  /** Half of the content as if it were all. */
  | { readonly kind: 'truncate' }
  /** The bytes of an upload with one bit changed on their way in. */
  | { readonly kind: 'flip-bit-sent' };

/** Which requests a fault hits: those of an operation on names that begin with `prefix`, from the nth, `times` often. */
export interface GcsAim {
  readonly operation: Operation;
  readonly prefix?: string;
  /** From 1, counted from when the fault is set up. Default 1. */
  readonly nth?: number;
  /** Default 1. */
  readonly times?: number;
}

export class FaultScript {
  readonly #armed: { aim: GcsAim; fault: GcsFault; seen: number }[] = [];
  /** How many requests were hit so far. */
  hits = 0;

  add(fault: GcsFault, aim: GcsAim): void {
    this.#armed.push({ aim, fault, seen: 0 });
  }

  clear(): void {
    this.#armed.length = 0;
  }

  /** The first fault set up that hits this request; each one counts every request that it is aimed at. */
  next(operation: Operation, name: string): GcsFault | undefined {
    let hit: GcsFault | undefined;
    for (const armed of this.#armed) {
      const { prefix = '', nth = 1, times = 1 } = armed.aim;
      if (armed.aim.operation !== operation || !name.startsWith(prefix)) continue;
      armed.seen++;
      if (armed.seen >= nth && armed.seen < nth + times) hit ??= armed.fault;
    }
    if (hit) this.hits++;
    return hit;
  }
}
