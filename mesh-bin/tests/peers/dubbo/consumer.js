// Calls each method through a client of Node's and prints what came back, a line each: `consumer.js LIBRARY HOST:PORT`,
// where LIBRARY is `dubbo2.js` or `apache-dubbo-js`. With `plain` behind it nothing is called that gives null or false: what
// sofa-rpc-node makes of those ends these clients.
const [library, address, plain] = process.argv.slice(2);
const { DirectlyDubbo, java } = require(library);

const dubbo = DirectlyDubbo.from({ dubboAddress: address, dubboVersion: '2.0.2', dubboInvokeTimeout: 2 });
const user = (name, age) => java.combine('demo.User', { name, age });
const demo = dubbo.proxyService({
  dubboInterface: 'demo.DemoService',
  version: '0.0.0',
  methods: {
    sayHello: (name) => [java.String(name)],
    add: (a, b) => [java.int(a), java.int(b)],
    half: (value) => [java.double(value)],
    not: (value) => [java.boolean(value)],
    nothing: () => [],
    nullString: () => [],
    getUser: (id) => [java.int(id)],
    describeUser: (name, age) => [user(name, age)],
    friends: (years) => [java.List([user('a', 1), user('b', 2)]), java.int(years)],
    echoMap: () => [java.Map({ k: 'v' })],
    fail: (why) => [java.String(why)],
    failRuntime: (why) => [java.String(why)],
    big: (length) => [java.int(length)],
  },
});

const shown = (value) => JSON.stringify(value, (_, part) => (typeof part === 'object' && part !== null && part.boss === part ? { ...part, boss: 'itself' } : part));

async function call(what, method, args, show = shown) {
  const { res, err } = await demo[method](...args);
  const why = err && String(err.message).split('\n')[0].replace(/^.*?(because|timeout).*$/, '$1');
  console.log(`${what} = ${err ? `threw ${why}` : show(res)}`);
}

// the connection is made beside; a call before it waits
setTimeout(async () => {
  try {
    await call('sayHello', 'sayHello', ['wörld 世界']);
    await call('add', 'add', [1, 2]);
    await call('half', 'half', [0.5]);
    if (!plain) {
      await call('not', 'not', [true]);
      await call('nothing', 'nothing', []);
      await call('nullString', 'nullString', []);
    }
    await call('getUser', 'getUser', [3], (res) => `${res.name} ${res.age}`);
    await call('describeUser', 'describeUser', ['eve', 9]);
    await call('friends', 'friends', [5]);
    await call('echoMap', 'echoMap', []);
    await call('fail', 'fail', ['because']);
    await call('failRuntime', 'failRuntime', ['because']);
    await call('big', 'big', [100000], (res) => res.length);
    const sums = await Promise.all(Array.from({ length: 200 }, (_, i) => demo.add(i, 1000)));
    const wrong = sums.filter(({ res, err }, i) => err || res !== i + 1000);
    console.log(`many at once = ${wrong.length} wrong`);
    process.exit(0);
  } catch (error) {
    console.log(`broken: ${error.stack}`);
    process.exit(1);
  }
}, 700);
