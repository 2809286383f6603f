#include "tests/moe/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace moe::reference {
namespace {

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

Vector Add(const Vector& a, const Vector& b) {
  Vector sum = a;
  for (size_t i = 0; i < b.size(); ++i) sum[i] += b[i];
  return sum;
}

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double LogSumExp(const Vector& z) {
  const double largest = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (double value : z) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

Vector Softmax(const Vector& z) {
  const double log_sum_exp = LogSumExp(z);
  Vector p;
  for (double value : z) p.push_back(std::exp(value - log_sum_exp));
  return p;
}

Vector Linear(const Vector& x, const Vector& w) {
  Vector y(w.size() / x.size());
  for (size_t o = 0; o < y.size(); ++o)
    for (size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
  return y;
}

Vector LinearBackward(const Vector& d_y, const Vector& x, const Vector& w,
                      Vector& d_w) {
  Vector d_x(x.size());
  for (size_t o = 0; o < d_y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) {
      d_x[i] += d_y[o] * w[o * x.size() + i];
      d_w[o * x.size() + i] += d_y[o] * x[i];
    }
  }
  return d_x;
}

Vector RmsNorm(const Vector& x, const Vector& w, double epsilon) {
  const double size = static_cast<double>(x.size());
  const double rms = std::sqrt(Dot(x, x) / size + epsilon);
  Vector y;
  for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * w[i] / rms);
  return y;
}

Vector RmsNormBackward(const Vector& d_y, const Vector& x, const Vector& w,
                       double epsilon, Vector& d_w) {
  const double size = static_cast<double>(x.size());
  const double rms = std::sqrt(Dot(x, x) / size + epsilon);
  double d_rms = 0;  // y = x w / rms
  Vector d_x;
  for (size_t i = 0; i < x.size(); ++i) {
    d_w[i] += d_y[i] * x[i] / rms;
    d_rms -= d_y[i] * x[i] * w[i] / (rms * rms);
    d_x.push_back(d_y[i] * w[i] / rms);
  }
  for (size_t i = 0; i < x.size(); ++i) d_x[i] += d_rms * x[i] / (size * rms);
  return d_x;
}

Vector Expert(const Vector& x, const ExpertWeights& w) {
  const Vector gate = Linear(x, w.w1);
  Vector hidden = Linear(x, w.w3);
  for (size_t i = 0; i < hidden.size(); ++i)
    hidden[i] *= gate[i] * Sigmoid(gate[i]);
  return Linear(hidden, w.w2);
}

Vector ExpertBackward(const Vector& d_y, const Vector& x,
                      const ExpertWeights& w, ExpertGradients d_w) {
  const Vector gate = Linear(x, w.w1);
  const Vector up = Linear(x, w.w3);
  Vector hidden(gate.size());
  for (size_t i = 0; i < hidden.size(); ++i)
    hidden[i] = gate[i] * Sigmoid(gate[i]) * up[i];
  const Vector d_hidden = LinearBackward(d_y, hidden, w.w2, d_w.w2);
  Vector d_gate(gate.size());
  Vector d_up(gate.size());
  for (size_t i = 0; i < hidden.size(); ++i) {
    const double s = Sigmoid(gate[i]);
    d_up[i] = d_hidden[i] * gate[i] * s;
    // silu(g) = g s(g), s' = s (1 - s).
    d_gate[i] = d_hidden[i] * up[i] * (s + gate[i] * s * (1 - s));
  }
  return Add(LinearBackward(d_gate, x, w.w1, d_w.w1),
             LinearBackward(d_up, x, w.w3, d_w.w3));
}

}  // namespace moe::reference
