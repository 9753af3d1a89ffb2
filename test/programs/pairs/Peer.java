import com.sun.net.httpserver.HttpServer;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.HttpURLConnection;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * `serve ADDRESS PORT`: echoes what is posted. `threads ADDRESS PORT COUNT`: posts standard input from so many threads
 * at once, each over a blocking connection of its own. `async ADDRESS PORT COUNT`: the same by HttpClient, which is
 * non-blocking. Both print the SHA-256 of each answer.
 */
public class Peer {
    public static void main(String[] arguments) {
        try {
            InetAddress address = InetAddress.getByName(arguments[1]);
            InetSocketAddress where = new InetSocketAddress(address, Integer.parseInt(arguments[2]));
            if (arguments[0].equals("serve")) {
                serve(where);
                return;
            }
            String host = arguments[1].contains(":") ? "[" + arguments[1] + "]" : arguments[1];
            talk(arguments[0], URI.create("http://" + host + ":" + where.getPort() + "/"), Integer.parseInt(arguments[3]));
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
        // Pools of threads would go on for a while.
        System.exit(0);
    }

    static void talk(String way, URI uri, int count) throws Exception {
        byte[] text = System.in.readAllBytes();
        for (byte[] answer : way.equals("threads") ? threads(uri, count, text) : async(uri, count, text)) {
            System.out.println(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(answer)));
        }
    }

    static void serve(InetSocketAddress where) throws Exception {
        HttpServer server = HttpServer.create(where, 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(200, body.length);
            try (OutputStream answer = exchange.getResponseBody()) {
                answer.write(body);
            }
        });
        server.start();
    }

    static List<byte[]> threads(URI uri, int count, byte[] text) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        List<Callable<byte[]>> tasks = new ArrayList<>();
        for (int i = 0; i < count; i++) tasks.add(() -> post(uri.toURL(), text));
        List<byte[]> answers = new ArrayList<>();
        for (Future<byte[]> answer : threads.invokeAll(tasks)) answers.add(answer.get());
        return answers;
    }

    static byte[] post(URL url, byte[] text) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        connection.setFixedLengthStreamingMode(text.length);
        connection.getOutputStream().write(text);
        try (InputStream answer = connection.getInputStream()) {
            return answer.readAllBytes();
        }
    }

    static List<byte[]> async(URI uri, int count, byte[] text) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpRequest request = HttpRequest.newBuilder(uri).POST(BodyPublishers.ofByteArray(text)).build();
        List<Future<byte[]>> posted = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            posted.add(client.sendAsync(request, BodyHandlers.ofByteArray()).thenApply(answer -> answer.body()));
        }
        List<byte[]> answers = new ArrayList<>();
        for (Future<byte[]> answer : posted) answers.add(answer.get());
        return answers;
    }
}
