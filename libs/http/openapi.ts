import { z } from 'zod';
import { PROBLEM_TYPE, problemSchema } from './problem.ts';
import { BINARY, type Route, type Schema } from './route.ts';

type Json = Record<string, unknown>;

const schemaOf = (schema: z.ZodType, io: 'input' | 'output' = 'input'): Json => {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return json;
};

const contentOf = (schema: Schema): Json =>
  schema === BINARY
    ? { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } }
    : { 'application/json': { schema: schemaOf(schema as z.ZodType) } };

/** The members of an object's schema as parameters; those in the path are always needed. */
function parametersOf(schema: z.ZodType | undefined, place: 'path' | 'query'): Json[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = schemaOf(schema) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, of]) => ({
    name,
    in: place,
    required: place === 'path' || (required.includes(name) && !('default' in of)),
    schema: of,
  }));
}

const INSTANCE: Json = {
  name: 'Tidemark-Instance',
  in: 'header',
  required: false,
  description: 'UUID of the process; needed with the token of an agent',
  schema: { type: 'string', format: 'uuid' },
};

function operationOf(route: Route): Json {
  const parameters = [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')];
  if (route.roles.includes('agent') && !route.beside) parameters.push(INSTANCE);
  const done: Json = route.reply
    ? { 200: { description: 'Done', content: contentOf(route.reply) } }
    : { 204: { description: 'Done' } };
  const problem = {
    description: 'A problem, with one of the codes of docs/errors.md',
    content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
  };
  return {
    summary: route.summary,
    ...(route.roles.length > 0 && {
      description: `Token: ${route.roles.join(' or ')}`,
      security: [{ token: [] }],
    }),
    ...(parameters.length > 0 && { parameters }),
    ...(route.body && { requestBody: { required: true, content: contentOf(route.body) } }),
    responses: { ...done, default: problem },
  };
}

/** OpenAPI 3.1 of routes; served as /openapi.json. */
export function openApiOf(routes: readonly Route[], info: { title: string; version: string }): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route) };
  }
  return {
    openapi: '3.1.0',
    info,
    paths,
    components: {
      schemas: { Problem: schemaOf(problemSchema) },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}
