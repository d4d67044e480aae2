#version 330
// The camera: lens, exposure, glare, film curve, vignette, grain.
uniform sampler2D light_map;  // summed over samples, with mipmaps
uniform float num_samples, exposure, glare, vignette, grain, rain, fringe, saturation;
uniform vec2 seed;
uniform vec3 balance;
uniform vec2 size_px;
uniform vec2 lens;        // radial distortion k1, k2
uniform vec2 half_view;   // tangent of half the field of view, of the picture
uniform vec2 half_drawn;  // of what was drawn: a little more

const float LENS_BLUR = 0.42;  // d in px: contrast 0.16 at the Nyquist frequency

in vec2 screen;
out vec4 out_colour;

float hash(vec2 at) {
    vec3 p = fract(vec3(at.xyx) * 0.1031 + seed.x);
    p += dot(p, p.yzx + 33.33 + seed.y);
    return fract((p.x + p.y) * p.z);
}

// Where the straight ray of a distorted pixel lies in what was drawn: Newton's steps.
vec2 drawn(vec2 at, float scale) {
    vec2 bent = (2.0 * at - 1.0) * half_view * scale, straight = bent;
    if (lens != vec2(0.0)) {
        float wanted = max(length(bent), 1e-6), r = wanted;
        for (int k = 0; k < 6; k++) {
            float r2 = r * r;
            r -= (r * (1.0 + lens.x * r2 + lens.y * r2 * r2) - wanted)
               / (1.0 + 3.0 * lens.x * r2 + 5.0 * lens.y * r2 * r2);
        }
        straight = bent * r / wanted;
    }
    return 0.5 + 0.5 * straight / half_drawn;
}

float streaks(vec2 at) {
    vec2 cell = vec2(at.x * 1.0 + at.y * 0.05, at.y);
    float column = floor(cell.x / 3.0);
    float fall = fract(hash(vec2(column, 3.0)) + cell.y / (90.0 + 60.0 * hash(vec2(column, 9.0))));
    float is_here = step(0.90, hash(vec2(column, 17.0 + floor(cell.y / 120.0))));
    return is_here * smoothstep(0.80, 0.9, fall) * smoothstep(1.0, 0.9, fall);
}

vec3 curve(vec3 x) {  // a fit of the ACES film curve (Narkowicz 2015)
    x *= 0.72;
    return clamp(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0);
}

// No lens and no Bayer mosaic resolves single pixels: four taps weigh (d/2, 1-d, d/2) each way.
vec3 lens_blurred(vec2 at) {
    vec2 d = LENS_BLUR / vec2(textureSize(light_map, 0));
    return 0.25 * (textureLod(light_map, at + d, 0.0).rgb + textureLod(light_map, at - d, 0.0).rgb
                 + textureLod(light_map, at + vec2(d.x, -d.y), 0.0).rgb
                 + textureLod(light_map, at + vec2(-d.x, d.y), 0.0).rgb);
}

void main() {
    vec2 to = drawn(screen, 1.0);
    vec3 light = lens_blurred(to);
    if (fringe > 0.0) {
        light.r = lens_blurred(drawn(screen, 1.0 + fringe)).r;
        light.b = lens_blurred(drawn(screen, 1.0 - fringe)).b;
    }
    vec3 wide = textureLod(light_map, to, 3.5).rgb * 0.5 + textureLod(light_map, to, 5.0).rgb * 0.35
              + textureLod(light_map, to, 6.2).rgb * 0.15;
    light = mix(light, wide, glare);
    if (rain > 0.0) light += wide * 0.35 * rain * (streaks(gl_FragCoord.xy) + 0.5 * streaks(gl_FragCoord.xy * 2.1 + 40.0));
    vec2 off = 2.0 * screen - 1.0;
    light *= balance * exposure / num_samples / (1.0 + vignette * dot(off, off));
    float grey = dot(light, vec3(0.2126, 0.7152, 0.0722));
    light = max(vec3(0.0), mix(vec3(grey), light, saturation));
    vec3 colour = pow(curve(light), vec3(1.0 / 2.2));
    float speck = hash(gl_FragCoord.xy) + hash(gl_FragCoord.xy + 71.7) - 1.0;
    vec3 tint = vec3(hash(gl_FragCoord.xy + 11.3), hash(gl_FragCoord.xy + 23.9), hash(gl_FragCoord.xy + 47.1)) - 0.5;
    colour += grain * (speck + 0.4 * tint) * (1.2 - 0.7 * grey);
    out_colour = vec4(colour, 1.0);
}
