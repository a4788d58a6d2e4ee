import { type Finding, ok, warning } from './finding.ts';

export interface EnvironmentFacts {
  /** TIDEMARK_* variables that mean nothing. */
  readonly unknown: readonly string[];
  readonly kafkaBrokers: string | undefined;
}

export function checkEnvironment({ unknown, kafkaBrokers }: EnvironmentFacts): Finding[] {
  const findings = unknown.map((name) =>
    warning(
      'environment',
      `${name} means nothing to Tidemark`,
      'Look for a misspelling: docs/4-configuration.md.',
    ),
  );
  if (unknown.length === 0) findings.push(ok('environment', 'all TIDEMARK_ variables are known'));
  if (kafkaBrokers !== undefined) {
    const text = `TIDEMARK_KAFKA_BROKERS is set: only \`serve\` and the services use ${kafkaBrokers}; it was not tried`;
    findings.push(
      warning(
        'kafka',
        text,
        'Unset it for other commands; /health/ready of `serve` says whether Kafka answers.',
      ),
    );
  }
  return findings;
}
