#include "tests/moe/reference_attention.h"

#include <cmath>

namespace moe::reference {
namespace {

// Head `head` of a row.
Vector Slice(const Vector& row, size_t head, const Heads& heads) {
  const auto begin = row.begin() + static_cast<ptrdiff_t>(head * heads.dim);
  return Vector(begin, begin + static_cast<ptrdiff_t>(heads.dim));
}

void AddToSlice(Vector& row, size_t head, const Vector& x, double factor) {
  for (size_t i = 0; i < x.size(); ++i)
    row[head * x.size() + i] += factor * x[i];
}

// Turns each pair (x_i, x_{i + dim/2}) by position theta^(-2 i / dim), or back
// if `direction` is -1.
Vector Rotate(const Vector& x, size_t position, double theta,
              double direction) {
  const size_t half = x.size() / 2;
  Vector y(x.size());
  for (size_t i = 0; i < half; ++i) {
    const double exponent =
        -2 * static_cast<double>(i) / static_cast<double>(x.size());
    const double angle =
        direction * static_cast<double>(position) * std::pow(theta, exponent);
    y[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
    y[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return y;
}

Rows RotateHead(const Rows& x, size_t head, const Heads& heads) {
  Rows y;
  for (size_t t = 0; t < x.size(); ++t)
    y.push_back(Rotate(Slice(x[t], head, heads), t, heads.theta, 1));
  return y;
}

// How much token t attends to tokens 0 to t, from rotated q and k of one head.
Vector Probabilities(const Vector& q, const Rows& k, size_t t) {
  Vector scores;
  for (size_t s = 0; s <= t; ++s)
    scores.push_back(Dot(q, k[s]) / std::sqrt(static_cast<double>(q.size())));
  return Softmax(scores);
}

}  // namespace

Rows Attention(const Rows& q, const Rows& k, const Rows& v,
               const Heads& heads) {
  Rows y(q.size(), Vector(heads.query * heads.dim));
  for (size_t head = 0; head < heads.query; ++head) {
    const size_t shared = head * heads.key_value / heads.query;
    const Rows rotated_q = RotateHead(q, head, heads);
    const Rows rotated_k = RotateHead(k, shared, heads);
    for (size_t t = 0; t < q.size(); ++t) {
      const Vector p = Probabilities(rotated_q[t], rotated_k, t);
      for (size_t s = 0; s <= t; ++s)
        AddToSlice(y[t], head, Slice(v[s], shared, heads), p[s]);
    }
  }
  return y;
}

AttentionGradients AttentionBackward(const Rows& d_y, const Rows& q,
                                     const Rows& k, const Rows& v,
                                     const Heads& heads) {
  AttentionGradients d = {Rows(q.size(), Vector(heads.query * heads.dim)),
                          Rows(q.size(), Vector(heads.key_value * heads.dim)),
                          Rows(q.size(), Vector(heads.key_value * heads.dim))};
  const double scale = 1 / std::sqrt(static_cast<double>(heads.dim));
  for (size_t head = 0; head < heads.query; ++head) {
    const size_t shared = head * heads.key_value / heads.query;
    const Rows rotated_q = RotateHead(q, head, heads);
    const Rows rotated_k = RotateHead(k, shared, heads);
    for (size_t t = 0; t < q.size(); ++t) {
      const Vector p = Probabilities(rotated_q[t], rotated_k, t);
      const Vector d_out = Slice(d_y[t], head, heads);
      Vector d_p;
      for (size_t s = 0; s <= t; ++s)
        d_p.push_back(Dot(d_out, Slice(v[s], shared, heads)));
      const double mean = Dot(p, d_p);
      for (size_t s = 0; s <= t; ++s) {
        const double d_score = p[s] * (d_p[s] - mean) * scale;
        AddToSlice(d.q[t], head, Rotate(rotated_k[s], t, heads.theta, -1),
                   d_score);
        AddToSlice(d.k[s], shared, Rotate(rotated_q[t], s, heads.theta, -1),
                   d_score);
        AddToSlice(d.v[s], shared, d_out, p[s]);
      }
    }
  }
  return d;
}

}  // namespace moe::reference
