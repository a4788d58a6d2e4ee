import type { ErrorCode } from '../model/errors.ts';

/** Something of the store that a rebuild could not use. The rest was rebuilt. */
export interface RebuildFinding {
  readonly code: ErrorCode;
  /** Object of the store. */
  readonly object?: string;
  /** Label of the backup that is lost. */
  readonly label?: string;
  readonly message: string;
}

export type OnFinding = (finding: RebuildFinding) => void;
