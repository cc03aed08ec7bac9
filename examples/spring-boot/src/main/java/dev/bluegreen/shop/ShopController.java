package dev.bluegreen.shop;

import jakarta.servlet.http.HttpServletRequest;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;

/** Each answer says which version and colour gave it, and repeats the request's number: so a client can tell what it lost. */
@RestController
class ShopController {
    private final String version;
    private final String colour;
    private final String payment;

    ShopController(
            @Value("${shop.version}") String version,
            @Value("${BLUEGREEN_COLOUR:none}") String colour,
            @Value("${shop.payment.key:}") String payment) {
        this.version = version;
        this.colour = colour;
        this.payment = payment;
    }

    @GetMapping("/")
    ResponseEntity<String> home(@RequestHeader(name = "X-Request-Id", defaultValue = "-") String id) {
        return said(id, "<h1>shop " + version + "</h1>\n");
    }

    @PostMapping("/order")
    ResponseEntity<String> order(
            @RequestHeader(name = "X-Request-Id", defaultValue = "-") String id, @RequestBody byte[] order) {
        return said(id, "{\"version\":\"" + version + "\",\"bytes\":" + order.length + "}\n");
    }

    /** What the app sees of its client, and whether the key of the payment service reached it; never the key itself. */
    @GetMapping("/about")
    Map<String, Object> about(HttpServletRequest request) {
        return Map.of(
                "url", request.getRequestURL().toString(),
                "client", request.getRemoteAddr(),
                "temp", System.getProperty("java.io.tmpdir"),
                "paymentKeyLength", payment.length());
    }

    private ResponseEntity<String> said(String id, String body) {
        return ResponseEntity.ok()
                .header("X-Request-Id", id)
                .header("X-Version", version)
                .header("X-Colour", colour)
                .body(body);
    }
}
