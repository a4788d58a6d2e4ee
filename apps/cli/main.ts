import { enableCompileCache } from 'node:module';

enableCompileCache();
process.exitCode = 13; // what Node says itself where a program ends while it still waits for something
void import('./program.ts').then(async ({ run }) => {
  process.exitCode = await run(process.argv);
});
