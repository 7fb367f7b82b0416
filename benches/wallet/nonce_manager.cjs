// Sends transactions as one does with ethers.js: a NonceManager over a wallet, so many under way, each waited for.
// Reads {url, key, calls, inFlight, limitSeconds} from standard input and prints the seconds that it took.
const { JsonRpcProvider, NonceManager, Wallet } = require("ethers");
const { url, key, calls, inFlight, limitSeconds } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));

async function main() {
  // It would look for new blocks every four seconds.
  const provider = new JsonRpcProvider(url, undefined, { staticNetwork: true, pollingInterval: 20 });
  await provider.getBlockNumber();
  const signer = new NonceManager(new Wallet(key, provider));
  const begun = process.hrtime.bigint();
  let next = 0;
  // A wait for a receipt may never end.
  const limit = () => {
    console.error(`ethers.js: not done after ${limitSeconds} s, ${next} of ${calls.length} begun`);
    process.exit(2);
  };
  const timer = setTimeout(limit, limitSeconds * 1000);
  const lane = async () => {
    while (next < calls.length) {
      const sent = await signer.sendTransaction(calls[next++]);
      const receipt = await sent.wait();
      if (receipt.status !== 1) throw new Error(`reverted: ${sent.hash}`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  console.log(Number(process.hrtime.bigint() - begun) / 1e9);
  clearTimeout(timer);
  provider.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
