import { TmError } from '../model/errors.ts';

/** Names that could lead out of the directory, or are none, are refused. */
export function checkName(name: Buffer): void {
  const dots = name.length <= 2 && name.every((byte) => byte === 0x2e);
  if (dots || name.includes(0x2f) || name.includes(0))
    throw new TmError('TM1604', JSON.stringify(name.toString('latin1')));
}
