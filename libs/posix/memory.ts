import { libcCall } from './libc.ts';

let trim: ((pad: number) => number) | undefined;

/**
 * Gives memory that was freed back to the system: after much work that is followed by little, malloc keeps it otherwise.
 * Where the C library has no malloc_trim(3), nothing happens.
 */
export function releaseFreedMemory(): void {
  try {
    trim ??= libcCall('malloc_trim', 'int', ['size_t']) as (pad: number) => number;
    trim(0);
  } catch {
    trim = () => 0;
  }
}
