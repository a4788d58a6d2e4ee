import { COMMON, KAFKA_CONSUMER, REGISTRY } from '../../libs/service/config.ts';

export const DELTA_CALCULATOR = { ...COMMON, ...REGISTRY, ...KAFKA_CONSUMER };
