# frozen_string_literal: true

require 'socket'

module SendFD
  # Who sent a message, as the kernel vouches for it to a receiver that has set
  # SO_PASSCRED.
  Credentials = Struct.new(:pid, :uid, :gid)

  # What {SendFD.recvfds_msghdr} has received.
  #
  # @!attribute data
  #   @return [String, Array<String>] an array if lengths was one
  # @!attribute fds
  #   @return [Array<Integer>, Array<IO, Dir>] the descriptors
  # @!attribute length
  #   @return [Integer] how many bytes came; with MSG_TRUNC given, how many the datagram
  #     has
  # @!attribute address
  #   @return [Addrinfo, nil] the sender's, where messages have one
  # @!attribute flags
  #   @return [Integer] Socket::MSG_TRUNC, Socket::MSG_CTRUNC, Socket::MSG_EOR ...
  # @!attribute controls
  #   @return [Array<Socket::AncillaryData>] the control messages but for the descriptors
  #     and the pidfd
  # @!attribute pidfd
  #   @return [Integer, nil] the sender's, if SO_PASSPIDFD is set: a descriptor which is
  #     the caller's to close, or below 0 an errno
  Message = Struct.new(:data, :fds, :length, :address, :flags, :controls, :pidfd,
                       keyword_init: true) do
    # @return [Credentials, nil]
    def credentials
      control = controls.find { |one| one.cmsg_is?(:SOCKET, :CREDENTIALS) }
      control && Credentials.new(*control.data.unpack('iII'))
    end
  end
end
