import type { BackupInfo } from '../model/backup.ts';
import { type ErrorCode, TmError } from '../model/errors.ts';
import type { TreePath } from '../model/tree-path.ts';
import { isDamage } from '../restore/frame-reader.ts';

/** Something that verify found. A notice is no damage. */
export interface Finding {
  readonly code: ErrorCode;
  readonly notice?: true;
  /** Object of the store. */
  readonly object?: string;
  /** Block id, hex. */
  readonly block?: string;
  readonly backup?: BackupInfo;
  readonly path?: TreePath;
  readonly message: string;
}

export type OnFinding = (finding: Finding) => void;

/** Runs a check; damage is a finding, everything else is thrown. */
export async function finding(
  onFinding: OnFinding,
  at: Pick<Finding, 'object' | 'backup'>,
  check: () => Promise<void>,
): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    if (!isDamage(error) && !(error instanceof TmError && error.code === 'TM1209')) throw error;
    onFinding({ ...at, code: error.code, message: error.message });
    return false;
  }
}

/** A finding as it is told: of the backup only its label. */
export interface ToldFinding extends Omit<Finding, 'backup'> {
  readonly label?: string;
}

export const told = ({ backup, ...found }: Finding): ToldFinding => ({
  ...found,
  ...(backup && { label: backup.label }),
});
