// `node envoy/provider/main.mjs`: the provider of the demo, as a program of its own.

import { startProvider } from './provider.mjs';

const { PROVIDER_PORT = '8001', PROVIDER_ADDRESS = '127.0.0.1', SITE = 'http://localhost:8000', CLIENT_SECRET, MACHINE_SECRET } = process.env;
if (!CLIENT_SECRET) {
  console.error('CLIENT_SECRET is not set: the provider and the filter must know the same one');
  process.exit(1);
}
const provider = await startProvider({
  port: Number(PROVIDER_PORT),
  address: PROVIDER_ADDRESS,
  site: SITE,
  clientSecret: CLIENT_SECRET,
  ...(MACHINE_SECRET && { machineSecret: MACHINE_SECRET }),
});
console.log(`provider ${provider.issuer}`);
process.on('disconnect', () => process.exit());
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit());
