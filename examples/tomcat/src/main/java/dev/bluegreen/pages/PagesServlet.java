package dev.bluegreen.pages;

import jakarta.servlet.ServletException;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** Each answer says which version and colour gave it, and repeats the request's number: so a client can tell what it lost. */
@WebServlet(urlPatterns = {"", "/order", "/about"}, loadOnStartup = 1)
public class PagesServlet extends HttpServlet {
    private final String version = System.getenv().getOrDefault("PAGES_VERSION", "1.0.0");
    private final String colour = System.getenv().getOrDefault("BLUEGREEN_COLOUR", "none");

    @Override
    public void init() throws ServletException {
        // For a look at what becomes of an app that can't start.
        if (System.getenv("PAGES_BROKEN") != null) {
            throw new ServletException("told to break");
        }
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        said(request, response);
        if (request.getServletPath().equals("/about")) {
            response.setContentType("application/json");
            response.getWriter().println("{\"url\":\"" + request.getRequestURL() + "\",\"temp\":\""
                    + System.getProperty("java.io.tmpdir") + "\"}");
        } else {
            response.setContentType("text/html");
            response.getWriter().println("<h1>pages " + version + "</h1>");
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int bytes = request.getInputStream().readAllBytes().length;
        said(request, response);
        response.setContentType("application/json");
        response.getWriter().println("{\"version\":\"" + version + "\",\"bytes\":" + bytes + "}");
    }

    private void said(HttpServletRequest request, HttpServletResponse response) {
        String id = request.getHeader("X-Request-Id");
        response.setHeader("X-Request-Id", id == null ? "-" : id);
        response.setHeader("X-Version", version);
        response.setHeader("X-Colour", colour);
    }
}
