#include "tests/moe/reference_block.h"

#include <utility>

namespace moe::reference {
namespace {

size_t Size(int64_t n) { return static_cast<size_t>(n); }

Heads HeadsOf(const ModelConfig& model) {
  const int head_dim = model.head_dim() > 0
                           ? model.head_dim()
                           : model.hidden_size() / model.num_attention_heads();
  return {.query = Size(model.num_attention_heads()),
          .key_value = Size(model.num_key_value_heads()),
          .dim = Size(head_dim),
          .theta = model.rope_theta()};
}

Vector Scaled(const Vector& x, double factor) {
  Vector y = x;
  for (double& value : y) value *= factor;
  return y;
}

Rows Part(const Rows& rows, size_t begin, size_t length) {
  const auto first = rows.begin() + static_cast<ptrdiff_t>(begin);
  return Rows(first, first + static_cast<ptrdiff_t>(length));
}

}  // namespace

Block::Block(const ModelConfig& model, const RouterConfig& router, size_t layer,
             size_t length, std::vector<size_t> documents,
             Parameters& parameters)
    : router_(router),
      prefix_("model.layers." + std::to_string(layer) + "."),
      top_k_(Size(model.num_experts_per_tok())),
      length_(length),
      documents_(std::move(documents)),
      heads_(HeadsOf(model)),
      parameters_(parameters) {}

std::string Block::Name(const std::string& rest) const {
  return prefix_ + rest + ".weight";
}

std::string Block::ExpertName(size_t expert, const std::string& matrix) const {
  return Name("block_sparse_moe.experts." + std::to_string(expert) + "." +
              matrix);
}

ExpertWeights Block::WeightsOf(size_t expert) const {
  return {parameters_.Weight(ExpertName(expert, "w1")),
          parameters_.Weight(ExpertName(expert, "w2")),
          parameters_.Weight(ExpertName(expert, "w3"))};
}

ExpertGradients Block::GradientsOf(size_t expert) {
  return {parameters_.Gradient(ExpertName(expert, "w1")),
          parameters_.Gradient(ExpertName(expert, "w2")),
          parameters_.Gradient(ExpertName(expert, "w3"))};
}

Rows Block::Forward(const Rows& x) {
  x_ = x;
  for (const Vector& row : x) {
    const Vector normed = parameters_.Norm(row, Name("input_layernorm"));
    normed_.push_back(normed);
    q_.push_back(parameters_.Project(normed, Name("self_attn.q_proj")));
    k_.push_back(parameters_.Project(normed, Name("self_attn.k_proj")));
    v_.push_back(parameters_.Project(normed, Name("self_attn.v_proj")));
  }
  for (size_t length : documents_) {
    const size_t begin = head_outputs_.size();
    const Rows y = Attention(Part(q_, begin, length), Part(k_, begin, length),
                             Part(v_, begin, length), heads_);
    head_outputs_.insert(head_outputs_.end(), y.begin(), y.end());
  }
  for (size_t t = 0; t < x.size(); ++t) {
    middle_.push_back(Add(
        x[t], parameters_.Project(head_outputs_[t], Name("self_attn.o_proj"))));
    middle_normed_.push_back(
        parameters_.Norm(middle_[t], Name("post_attention_layernorm")));
  }
  ChooseExperts();
  Rows out;
  for (size_t t = 0; t < x.size(); ++t) out.push_back(Add(middle_[t], Moe(t)));
  return out;
}

void Block::ChooseExperts() {
  for (size_t begin = 0; begin < middle_normed_.size(); begin += length_) {
    std::vector<Route> routes;
    for (const Vector& row : Part(middle_normed_, begin, length_)) {
      routes.push_back(
          Choose(parameters_.Project(row, Name("block_sparse_moe.gate")),
                 top_k_, router_.renormalize()));
    }
    DropBeyondCapacity(routes, router_);
    routes_.insert(routes_.end(), routes.begin(), routes.end());
  }
}

Vector Block::Moe(size_t token) const {
  const Vector& x = middle_normed_[token];
  const Route& route = routes_[token];
  Vector y(x.size());
  for (size_t k = 0; k < top_k_; ++k) {
    if (!route.kept[k]) continue;
    const Vector out = Expert(x, WeightsOf(route.experts[k]));
    y = Add(y, Scaled(out, route.weights[k]));
  }
  return y;
}

Rows Block::Backward(const Rows& d_y, const Rows& aux, double d_z) {
  Rows d_middle;
  for (size_t t = 0; t < d_y.size(); ++t)
    d_middle.push_back(Add(d_y[t], MoeBackward(d_y[t], t, aux[t], d_z)));
  return AttentionPartBackward(d_middle);
}

Vector Block::ExpertsBackward(const Vector& d_y, size_t token,
                              Vector& d_weights) {
  const Vector& x = middle_normed_[token];
  const Route& route = routes_[token];
  Vector d_x(x.size());
  for (size_t k = 0; k < top_k_; ++k) {
    if (!route.kept[k]) {
      d_weights.push_back(0);
      continue;
    }
    const size_t e = route.experts[k];
    d_weights.push_back(Dot(d_y, Expert(x, WeightsOf(e))));
    d_x = Add(d_x, ExpertBackward(Scaled(d_y, route.weights[k]), x,
                                  WeightsOf(e), GradientsOf(e)));
  }
  return d_x;
}

Vector Block::MoeBackward(const Vector& d_y, size_t token, const Vector& aux,
                          double d_z) {
  const Route& route = routes_[token];
  Vector d_weights;
  const Vector d_through_experts = ExpertsBackward(d_y, token, d_weights);
  const Vector d_logits =
      ChooseBackward(d_weights, Scaled(aux, router_.aux_loss_coefficient()),
                     2 * d_z * route.log_sum_exp, route, router_.renormalize());
  const Vector d_through_gate = parameters_.ProjectBackward(
      d_logits, middle_normed_[token], Name("block_sparse_moe.gate"));
  return parameters_.NormBackward(Add(d_through_experts, d_through_gate),
                                  middle_[token],
                                  Name("post_attention_layernorm"));
}

Rows Block::AttentionPartBackward(const Rows& d_y) {
  Rows d_heads;
  for (size_t t = 0; t < d_y.size(); ++t)
    d_heads.push_back(parameters_.ProjectBackward(d_y[t], head_outputs_[t],
                                                  Name("self_attn.o_proj")));
  Rows d_x;
  for (size_t length : documents_) {
    const size_t begin = d_x.size();
    const AttentionGradients d = AttentionBackward(
        Part(d_heads, begin, length), Part(q_, begin, length),
        Part(k_, begin, length), Part(v_, begin, length), heads_);
    for (size_t i = 0; i < length; ++i) {
      const size_t t = begin + i;
      const Vector d_q = parameters_.ProjectBackward(d.q[i], normed_[t],
                                                     Name("self_attn.q_proj"));
      const Vector d_k = parameters_.ProjectBackward(d.k[i], normed_[t],
                                                     Name("self_attn.k_proj"));
      const Vector d_v = parameters_.ProjectBackward(d.v[i], normed_[t],
                                                     Name("self_attn.v_proj"));
      const Vector d_branch = parameters_.NormBackward(
          Add(Add(d_q, d_k), d_v), x_[t], Name("input_layernorm"));
      d_x.push_back(Add(d_y[t], d_branch));
    }
  }
  return d_x;
}

}  // namespace moe::reference
