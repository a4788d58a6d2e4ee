import type { MicroCase } from './case.ts';
import { chunkerCases } from './chunker.ts';
import { frameCases } from './frames.ts';
import { indexCases } from './index-look-ups.ts';
import { readCases } from './read.ts';
import { scanCases } from './scan.ts';

export const CASES: readonly MicroCase[] = [
  ...chunkerCases,
  ...frameCases,
  ...readCases,
  ...scanCases,
  ...indexCases,
];
