import { flock, LOCK_EX, LOCK_NB, LOCK_UN } from '../../posix/index.ts';

/** As flock(1) with a descriptor: `[-n|-u] FD`. */
const OPERATIONS: Readonly<Record<string, number>> = { '-n': LOCK_EX | LOCK_NB, '-u': LOCK_UN };

const args = process.argv.slice(2);
const result = flock(Number(args.at(-1)), args.length > 1 ? (OPERATIONS[args[0]!] ?? LOCK_EX) : LOCK_EX);
process.exitCode = result === 0 ? 0 : 1;
