package demo;

import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.GenericService;

/**
 * Both ends of a call, by Apache Dubbo itself.
 *
 * <p>{@code provider PROTOCOL PORT} serves until its standard input ends. {@code consumer URL} calls every method with
 * classes and prints what came back, a line each; {@code generic URL} without them; {@code idle URL SECONDS} calls
 * once, is silent, and calls again.
 */
public final class Main {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "provider" -> provide(args[1], Integer.parseInt(args[2]));
            case "consumer" -> consume(args[1]);
            case "generic" -> consumeGeneric(args[1]);
            case "idle" -> idle(args[1], Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.out.flush();
        // its threads would live on
        Runtime.getRuntime().halt(0);
    }

    private static ApplicationConfig application(String name) {
        ApplicationConfig application = new ApplicationConfig(name);
        application.setQosEnable(false);
        return application;
    }

    private static void provide(String protocol, int port) throws Exception {
        ServiceConfig<DemoService> service = new ServiceConfig<>();
        service.setApplication(application("demo-provider"));
        service.setRegistry(new RegistryConfig("N/A"));
        service.setProtocol(new ProtocolConfig(protocol, port));
        service.setInterface(DemoService.class);
        service.setRef(new DemoServiceImpl());
        service.export();
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // until who started it lets go
        }
        // tells consumers, and ends after what is under way
        System.out.println("ending");
        org.apache.dubbo.config.bootstrap.DubboBootstrap.getInstance().stop();
        service.unexport();
    }

    private static <T> ReferenceConfig<T> reference(String url, Class<T> type) {
        ReferenceConfig<T> reference = new ReferenceConfig<>();
        reference.setApplication(application("demo-consumer"));
        reference.setRegistry(new RegistryConfig("N/A"));
        reference.setInterface(DemoService.class.getName());
        reference.setUrl(url);
        reference.setTimeout(1000);
        reference.setRetries(0);
        reference.setCheck(false);
        return reference;
    }

    private static void consume(String url) throws Exception {
        ReferenceConfig<DemoService> reference = reference(url, DemoService.class);
        MethodConfig count = new MethodConfig();
        count.setName("count");
        count.setReturn(false);
        reference.setMethods(List.of(count));
        DemoService demo = reference.get();

        call("sayHello", () -> demo.sayHello("wörld 世界 😀"));
        call("sayHello null", () -> demo.sayHello(null));
        call("add", () -> demo.add(Integer.MAX_VALUE, 1));
        call("addLong", () -> demo.addLong(1L << 62, -1L));
        call("half", () -> demo.half(0.1));
        call("not", () -> demo.not(false));
        call("nothing", () -> {
            demo.nothing();
            return "done";
        });
        call("nullString", demo::nullString);
        call("getUser", () -> demo.getUser(42));
        call("getUser, a cycle", () -> {
            User boss = demo.getUser(1).getBoss();
            return boss.getBoss() == boss;
        });
        call("describeUser", () -> demo.describeUser(user("ann", 30)));
        call("describeUser null", () -> demo.describeUser(null));
        call("userArray", () -> demo.userArray(new User[] {user("a", 1), null, user("b", 2)}));
        call("friends", () -> demo.friends(new ArrayList<>(List.of(user("c", 3), user("d", 4))), 10));
        call("echoMap", () -> demo.echoMap(new HashMap<>(Map.of("text", "x", "int", 1, "list", new ArrayList<>(List.of(1, 2))))));
        call("echo a long", () -> demo.echo(1L << 33));
        call("echo a list", () -> demo.echo(new ArrayList<>(Arrays.asList(1, "two", null, 4.5))));
        call("reverse", () -> demo.reverse(new byte[] {1, 2, 3}));
        call("reverse, large", () -> demo.reverse(new byte[100_000]).length);
        call("sum", () -> demo.sum(new int[] {1, 2, 3}));
        call("overload int", () -> demo.overload(1));
        call("overload text", () -> demo.overload("1"));
        call("fail", () -> demo.fail("because"));
        call("failRuntime", () -> demo.failRuntime("because"));
        call("dec", () -> demo.dec(new BigDecimal("12345678901234567890.123")));
        call("color", () -> demo.color(Color.RED));
        call("when", () -> demo.when(new Date(1_600_000_000_000L)).getTime());
        call("ldt", () -> demo.ldt(LocalDateTime.of(2020, 2, 28, 23, 59)));
        call("big", () -> demo.big(200_000).length());
        call("async", () -> demo.async("x").get());
        call("attachments", () -> {
            RpcContext.getContext().setAttachment("lane", "blue");
            return demo.attachmentsSeen().get("lane");
        });
        call("one-way", () -> {
            int before = demo.counted();
            for (int i = 0; i < 10; i++) {
                demo.count();
            }
            int counted = 0;
            for (int i = 0; i < 200 && counted < 10; i++) {
                Thread.sleep(10);
                counted = demo.counted() - before;
            }
            return counted;
        });
        call("a timeout", () -> demo.sleep(3000));
        call("after a timeout", () -> demo.add(1, 2));
        call("many at once", () -> many(demo));
    }

    /** Calls of which the slow ones are sent first. */
    private static Object many(DemoService demo) throws Exception {
        int threads = 32;
        CountDownLatch done = new CountDownLatch(threads);
        List<String> wrong = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            int number = thread;
            new Thread(() -> {
                try {
                    for (int i = 0; i < 50; i++) {
                        if (i % 10 == number % 10) {
                            demo.sleep(20);
                        }
                        int sum = demo.add(number * 1000, i);
                        if (sum != number * 1000 + i) {
                            synchronized (wrong) {
                                wrong.add(number + "+" + i + "=" + sum);
                            }
                        }
                    }
                } catch (Throwable thrown) {
                    synchronized (wrong) {
                        wrong.add(shown(thrown));
                    }
                } finally {
                    done.countDown();
                }
            }).start();
        }
        return done.await(30, TimeUnit.SECONDS) ? wrong : "unfinished";
    }

    private static void consumeGeneric(String url) throws Exception {
        ReferenceConfig<GenericService> reference = reference(url, GenericService.class);
        reference.setGeneric("true");
        GenericService demo = reference.get();

        generic(demo, "sayHello", "java.lang.String", "x");
        generic(demo, "add", "int,int", 1, 2);
        generic(demo, "addLong", "long,java.lang.Long", 1L << 40, 2L);
        generic(demo, "nothing", "");
        generic(demo, "nullString", "");
        generic(demo, "getUser", "int", 7);
        Map<String, Object> user = new LinkedHashMap<>();
        user.put("name", "eve");
        user.put("age", 20);
        user.put("color", "GREEN");
        user.put("tags", List.of("t"));
        generic(demo, "describeUser", "demo.User", user);
        generic(demo, "userArray", "demo.User[]", (Object) new Object[] {user});
        generic(demo, "echoMap", "java.util.Map", Map.of("k", 1));
        generic(demo, "sum", "int[]", (Object) new int[] {4, 5});
        generic(demo, "overload", "int", 1);
        generic(demo, "overload", "java.lang.String", "1");
        generic(demo, "fail", "java.lang.String", "because");
        generic(demo, "color", "demo.Color", "RED");
        generic(demo, "noSuchMethod", "");
    }

    private static void generic(GenericService demo, String method, String types, Object... arguments) {
        String[] names = types.isEmpty() ? new String[0] : types.split(",");
        call(method + "(" + types + ")", () -> demo.$invoke(method, names, arguments));
    }

    private static void idle(String url, int seconds) throws Exception {
        DemoService demo = reference(url, DemoService.class).get();
        call("before", () -> demo.add(1, 1));
        Thread.sleep(seconds * 1000L);
        call("after", () -> demo.add(2, 2));
    }

    private static User user(String name, int age) {
        User user = new User(name, age, Color.GREEN, new ArrayList<>(List.of("x", name)), null, null);
        user.setBoss(user);
        user.setExtra(new HashMap<>(Map.of("years", age)));
        return user;
    }

    private static void call(String what, Callable<Object> call) {
        String line;
        try {
            line = shown(call.call());
        } catch (Throwable thrown) {
            line = "threw " + shown(thrown);
        }
        System.out.println(what + " = " + line);
        System.out.flush();
    }

    /** Without what differs from run to run: addresses, times, traces. */
    private static String shown(Throwable thrown) {
        if (thrown instanceof RpcException rpc) {
            return "RpcException " + rpc.getCode();
        }
        String code = thrown instanceof DemoException demo ? " " + demo.getCode() : "";
        String message = String.valueOf(thrown.getMessage()).lines().findFirst().orElse("");
        return thrown.getClass().getName() + code + ": " + message;
    }

    private static String shown(Object value) {
        if (value instanceof Object[] array) {
            return Arrays.asList(array).stream().map(Main::shown).toList().toString();
        }
        if (value instanceof List<?> list) {
            return list.stream().map(Main::shown).toList().toString();
        }
        if (value instanceof byte[] bytes) {
            return Arrays.toString(bytes);
        }
        if (value instanceof Map<?, ?> map) {
            TreeMap<String, String> sorted = new TreeMap<>();
            map.forEach((key, entry) -> sorted.put(String.valueOf(key), entry == map ? "itself" : shown(entry)));
            return sorted.toString();
        }
        return value == null ? "null" : value + " (" + value.getClass().getSimpleName() + ")";
    }
}
