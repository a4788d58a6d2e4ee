import { expect, test } from 'vitest';
import { missingSystemCalls } from './index.ts';

test('asking for the newer system calls changes nothing and knows those of this kernel', () => {
  const missing = missingSystemCalls();
  expect(missing).not.toContain('statx');
  expect(['statx', 'openat2', 'fchmodat2']).toEqual(expect.arrayContaining(missing));
});
